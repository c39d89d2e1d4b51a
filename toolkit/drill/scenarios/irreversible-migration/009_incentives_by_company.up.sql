-- A company's setting decides on the incentive now: cases need not keep their own.
ALTER TABLE recovery_cases DROP COLUMN incentive_days;
