CREATE INDEX recovery_cases_company_id_status_idx ON recovery_cases (company_id, status);
CREATE INDEX recovery_cases_first_failure_at_idx ON recovery_cases (first_failure_at);
CREATE INDEX recovery_cases_membership_id_idx ON recovery_cases (membership_id, first_failure_at DESC);
