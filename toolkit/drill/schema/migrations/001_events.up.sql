-- Keep every webhook that was accepted, once for each id of the sender.
CREATE TABLE events (
    id             uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    whop_event_id  text        NOT NULL UNIQUE,
    type           text        NOT NULL,
    membership_id  text        NOT NULL,
    company_id     text        NOT NULL,
    payload        jsonb       NOT NULL,
    processed      boolean     NOT NULL DEFAULT false,
    error          text,
    created_at     timestamptz NOT NULL DEFAULT now(),
    processed_at   timestamptz
);

CREATE INDEX events_created_at_idx ON events (created_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON events TO churn_app;
