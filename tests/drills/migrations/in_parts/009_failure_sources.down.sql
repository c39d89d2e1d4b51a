-- The index goes without a lock on the table, which no transaction can.
COMMENT ON COLUMN recovery_cases.failure_source IS 'about to go';
DROP INDEX CONCURRENTLY recovery_cases_failure_source_idx;
ALTER TABLE recovery_cases DROP COLUMN failure_source;
