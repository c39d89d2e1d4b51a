-- Nobody seemed to use them.
DROP INDEX recovery_cases_membership_id_idx;
