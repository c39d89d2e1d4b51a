CREATE INDEX recovery_cases_membership_id_idx ON recovery_cases (membership_id, first_failure_at DESC);
