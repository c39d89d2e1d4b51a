-- Forget who acted on a case.
ALTER TABLE recovery_actions
    DROP CONSTRAINT recovery_actions_type_known,
    DROP COLUMN source;

DROP TYPE action_source;
