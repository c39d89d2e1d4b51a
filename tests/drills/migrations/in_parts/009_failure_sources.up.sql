-- Say where each failure was heard of, and find cases by it.
ALTER TABLE recovery_cases ADD COLUMN failure_source text NOT NULL DEFAULT 'provider';
CREATE INDEX recovery_cases_failure_source_idx ON recovery_cases (failure_source);
