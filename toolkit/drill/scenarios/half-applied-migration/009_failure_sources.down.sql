-- Forget where failures were heard of.
DROP INDEX recovery_cases_failure_source_idx;

ALTER TABLE recovery_cases DROP COLUMN failure_source;
