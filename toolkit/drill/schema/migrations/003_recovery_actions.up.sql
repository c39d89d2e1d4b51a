-- Keep what was done about a case: nudges, cancellations, terminations.
CREATE TABLE recovery_actions (
    id          uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    case_id     uuid        NOT NULL REFERENCES recovery_cases (id) ON DELETE CASCADE,
    type        text        NOT NULL,
    channel     text,
    metadata    jsonb       NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX recovery_actions_case_id_created_at_idx ON recovery_actions (case_id, created_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON recovery_actions TO churn_app;
