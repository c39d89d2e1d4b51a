-- Drop the record of what was done about cases.
DROP TABLE recovery_actions;
