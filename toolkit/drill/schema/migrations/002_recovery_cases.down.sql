-- Drop the cases.
DROP TABLE recovery_cases;
