ALTER TABLE recovery_cases DROP COLUMN reason_group;
