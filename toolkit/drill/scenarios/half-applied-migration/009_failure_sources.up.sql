-- Say where each failure was heard of. Run without a transaction, because of the index.
ALTER TABLE recovery_cases ADD COLUMN failure_source text;

ALTER TABLE recovery_cases
    ADD CONSTRAINT recovery_cases_failure_source_known CHECK (failure_source IS NOT NULL) NOT VALID;

CREATE INDEX CONCURRENTLY recovery_cases_failure_source_idx ON recovery_cases (failure_source);

ALTER TABLE recovery_cases ALTER COLUMN failure_source SET DEFAULT 'provider';
