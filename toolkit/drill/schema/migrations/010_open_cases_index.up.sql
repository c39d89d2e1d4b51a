-- Find the cases that are due without passing over those that are closed.
CREATE INDEX recovery_cases_open_idx ON recovery_cases (first_failure_at) WHERE status = 'open';
