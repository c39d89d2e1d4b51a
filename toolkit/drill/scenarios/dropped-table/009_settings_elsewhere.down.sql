-- Let each company choose its channels, its incentive, and when it reminds.
CREATE TABLE creator_settings (
    company_id             text        PRIMARY KEY,
    enable_push            boolean     NOT NULL DEFAULT true,
    enable_dm              boolean     NOT NULL DEFAULT true,
    incentive_days         integer     NOT NULL DEFAULT 3,
    reminder_offsets_days  integer[]   NOT NULL DEFAULT '{0,2,4}',
    updated_at             timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT creator_settings_offsets_few CHECK (cardinality(reminder_offsets_days) BETWEEN 1 AND 10),
    CONSTRAINT creator_settings_incentive_sane CHECK (incentive_days BETWEEN 0 AND 365)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON creator_settings TO churn_app;

ALTER TABLE creator_settings ENABLE ROW LEVEL SECURITY;

CREATE POLICY company_isolation ON creator_settings TO churn_app
    USING ((SELECT current_setting('app.company_id', true)) IN ('*', company_id));
