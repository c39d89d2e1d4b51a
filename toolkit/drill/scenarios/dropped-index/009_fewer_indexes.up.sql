-- Nobody seemed to use them.
DROP INDEX recovery_cases_membership_id_idx;
DROP INDEX recovery_cases_company_id_status_idx;
DROP INDEX recovery_cases_first_failure_at_idx;
