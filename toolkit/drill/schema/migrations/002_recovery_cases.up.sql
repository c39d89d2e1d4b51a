-- Follow each failed payment in a case, found by company, by age, and by the membership whose failures it merges.
CREATE TABLE recovery_cases (
    id                      uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    company_id              text        NOT NULL,
    membership_id           text        NOT NULL,
    user_id                 text        NOT NULL,
    status                  text        NOT NULL DEFAULT 'open',
    failure_reason          text        NOT NULL,
    first_failure_at        timestamptz NOT NULL,
    last_nudge_at           timestamptz,
    attempts                integer     NOT NULL DEFAULT 0,
    incentive_days          integer     NOT NULL DEFAULT 0,
    recovered_at            timestamptz,
    recovered_amount_cents  integer
);

CREATE INDEX recovery_cases_company_id_status_idx ON recovery_cases (company_id, status);
CREATE INDEX recovery_cases_first_failure_at_idx ON recovery_cases (first_failure_at);
CREATE INDEX recovery_cases_membership_id_idx ON recovery_cases (membership_id, first_failure_at DESC);

GRANT SELECT, INSERT, UPDATE, DELETE ON recovery_cases TO churn_app;
