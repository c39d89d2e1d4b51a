-- Remember what a company's settings were before each change, and keep updated_at by trigger rather than by promise.
CREATE TABLE creator_settings_history (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id  text        NOT NULL,
    changed_at  timestamptz NOT NULL DEFAULT now(),
    before      jsonb       NOT NULL
);

CREATE INDEX creator_settings_history_company_id_idx ON creator_settings_history (company_id, changed_at DESC);

ALTER TABLE creator_settings_history ENABLE ROW LEVEL SECURITY;
CREATE POLICY company_isolation ON creator_settings_history TO churn_app
    USING ((SELECT current_setting('app.company_id', true)) IN ('*', company_id));
GRANT SELECT, INSERT ON creator_settings_history TO churn_app;

CREATE FUNCTION remember_settings() RETURNS trigger LANGUAGE plpgsql AS $function$
BEGIN
    NEW.updated_at := now();
    INSERT INTO creator_settings_history (company_id, before) VALUES (OLD.company_id, to_jsonb(OLD));
    RETURN NEW;
END
$function$;

CREATE TRIGGER creator_settings_remember
    BEFORE UPDATE ON creator_settings
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION remember_settings();
