-- Drop the index over open cases.
DROP INDEX recovery_cases_open_idx;
