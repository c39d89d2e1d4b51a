ALTER TABLE recovery_cases DROP COLUMN failure_category;
DROP TYPE failure_category;
