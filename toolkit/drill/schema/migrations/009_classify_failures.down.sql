-- Drop the categories. The reasons from which they were derived stay, so nothing that was said is lost.
ALTER TABLE recovery_cases DROP CONSTRAINT recovery_cases_failure_category_known;

DROP TRIGGER recovery_cases_classify_failure ON recovery_cases;
DROP FUNCTION classify_failure();

ALTER TABLE recovery_cases DROP COLUMN failure_category;
DROP TYPE failure_category;
