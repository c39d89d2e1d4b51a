"""What can go wrong with the database, and by the names of which checks it is found; and what the service does, which
must not be found at all. Data only: the statements are run by the superuser on a copy of a database of version 12.
"""

# written behind the service's back: no trigger of the schema's, no foreign key
UNSEEN = "SET session_replication_role = replica;"

ROWS, EMPTIED = "{} has no row less than the backup", "{} was not emptied"
SPREAD = "the values of {} are spread as before"
EVENTS_OF_BEFORE = "events of before are as they were"
QUIET = "{} changed only as it should"
TABLES, CONSTRAINTS, INDEXES = "tables and columns are as before", "constraints are as before", "indexes are as before"
VIEWS, CODE = "views are as before", "functions and triggers are as before"
TYPES, POLICIES = "types and sequences are as before", "row-level security and policies are as before"
GRANTS, SEQUENCES = "owners and grants are as before", "sequences are ahead of their columns"
ORPHANS = "every recovery_actions.case_id is found in recovery_cases.id"
TWICE, QUEUE = "no events.whop_event_id is there twice", "the job queue has few failed and no stuck jobs"
VALID, VALIDATED = "every index is valid", "no constraint is left unvalidated"
NEWEST = "(SELECT id FROM events WHERE created_at < now() - interval '1 minute' ORDER BY created_at DESC LIMIT 1)"
LASTING = "recovery_cases has every row of before"
BEFORE = "membership_id = 'mem_before'"  # a case that version 12 opened, as its constraints want it
ONE_CASE = (
    "INSERT INTO recovery_cases (company_id, membership_id, user_id, failure_reason, first_failure_at)"
    " VALUES ('biz_03', 'mem_{}', 'user_new', 'expired_card', now())"
)
REASONS = "recovery_cases_failure_category_known"

MUTATIONS: dict[str, tuple[str, set[str]]] = {
    "one event gone": (f"DELETE FROM events WHERE id = {NEWEST}", {ROWS.format("events"), EVENTS_OF_BEFORE}),
    "one event rewritten": (f"UPDATE events SET payload = '{{}}' WHERE id = {NEWEST}", {EVENTS_OF_BEFORE}),
    "one case gone": (
        "DELETE FROM recovery_cases WHERE id = (SELECT id FROM recovery_cases LIMIT 1)",
        {ROWS.format("recovery_cases"), LASTING},
    ),
    "one case gone, another came": (
        f"DELETE FROM recovery_cases WHERE id = (SELECT id FROM recovery_cases LIMIT 1); {ONE_CASE.format('new')}",
        {LASTING},
    ),
    "one case given to another company": (
        f"UPDATE recovery_cases SET company_id = 'biz_other' WHERE {BEFORE}",
        {LASTING},
    ),
    "all cases gone": (
        "TRUNCATE recovery_cases CASCADE",
        {
            ROWS.format("recovery_cases"),
            EMPTIED.format("recovery_cases"),
            LASTING,
            SPREAD.format("recovery_cases.status"),
            SPREAD.format("recovery_cases.failure_reason"),
        },
    ),
    "an acknowledged row that a restore's merge could not put back": (
        "CREATE SCHEMA IF NOT EXISTS toolkit; GRANT USAGE ON SCHEMA toolkit TO PUBLIC; CREATE TABLE toolkit.conflict"
        " (mark text, table_name text, key jsonb, column_name text, reason text, settled text);"
        " INSERT INTO toolkit.conflict VALUES ('m', 'public.events', '{}', '', 'refused: events_pkey');"
        " GRANT SELECT ON toolkit.conflict TO PUBLIC",
        {"no conflict of a restore is undecided"},
    ),
    "settings rewritten": (
        f"{UNSEEN} UPDATE creator_settings SET incentive_days = 99 WHERE company_id = 'biz_03'",
        {QUIET.format("creator_settings")},
    ),
    "settings gone": (
        "DELETE FROM creator_settings WHERE company_id = 'biz_03'",
        {QUIET.format("creator_settings"), ROWS.format("creator_settings")},
    ),
    "a schedule rewritten": (
        "UPDATE pgboss.schedule SET cron = '* * * * *'",
        {QUIET.format("pgboss.schedule")},
    ),
    "an orphan": (
        f"{UNSEEN} INSERT INTO recovery_actions (case_id, type) VALUES (gen_random_uuid(), 'nudge')",
        {ORPHANS},
    ),
    "an event twice": (
        "ALTER TABLE events DROP CONSTRAINT events_whop_event_id_key;"
        "INSERT INTO events (whop_event_id, type, membership_id, company_id, payload)"
        "SELECT whop_event_id, type, membership_id, company_id, payload FROM events LIMIT 1",
        {TWICE, CONSTRAINTS, INDEXES},
    ),
    "a column gone": ("ALTER TABLE recovery_cases DROP COLUMN currency", {TABLES}),
    "a column came": ("ALTER TABLE recovery_cases ADD COLUMN note text", {TABLES}),
    "a default changed": ("ALTER TABLE recovery_cases ALTER COLUMN attempts SET DEFAULT 1", {TABLES}),
    "a type changed": ("ALTER TABLE recovery_cases ALTER COLUMN incentive_days TYPE bigint", {TABLES}),
    "null allowed": ("ALTER TABLE recovery_cases ALTER COLUMN user_id DROP NOT NULL", {TABLES}),
    "a table came": ("CREATE TABLE leftover (id int)", {TABLES, POLICIES, GRANTS}),
    "a constraint dropped": (
        "ALTER TABLE recovery_cases DROP CONSTRAINT recovery_cases_status_known",
        {CONSTRAINTS},
    ),
    "a constraint loosened": (
        "ALTER TABLE recovery_cases DROP CONSTRAINT recovery_cases_amount_positive;"
        "ALTER TABLE recovery_cases ADD CONSTRAINT recovery_cases_amount_positive"
        " CHECK (recovered_amount_cents >= -1)",
        {CONSTRAINTS},
    ),
    "a constraint not validated": (
        "ALTER TABLE recovery_cases DROP CONSTRAINT recovery_cases_amount_positive;"
        "ALTER TABLE recovery_cases ADD CONSTRAINT recovery_cases_amount_positive"
        " CHECK (recovered_amount_cents >= 0) NOT VALID",
        {CONSTRAINTS, VALIDATED},
    ),
    "a foreign key asleep": ("ALTER TABLE recovery_actions DISABLE TRIGGER ALL", {CONSTRAINTS}),
    "an index dropped": ("DROP INDEX recovery_cases_company_id_status_idx", {INDEXES}),
    "an index invalid": (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'recovery_cases_open_idx'::regclass",
        {INDEXES, VALID},
    ),
    "a trigger dropped": ("DROP TRIGGER creator_settings_remember ON creator_settings", {CODE}),
    "a trigger disabled": ("ALTER TABLE creator_settings DISABLE TRIGGER creator_settings_remember", {CODE}),
    "a function changed": (
        "CREATE OR REPLACE FUNCTION classify_failure() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        {CODE},
    ),
    "a view changed": ("ALTER VIEW recovery_kpis RESET (security_invoker)", {VIEWS}),
    "a view gone": ("DROP VIEW recovery_kpis", {VIEWS, TABLES, GRANTS}),
    "a label added": ("ALTER TYPE failure_category ADD VALUE 'other'", {TYPES}),
    "a policy dropped": ("DROP POLICY company_isolation ON events", {POLICIES}),
    "a policy widened": ("ALTER POLICY company_isolation ON recovery_cases USING (true)", {POLICIES}),
    "row-level security off": ("ALTER TABLE recovery_cases DISABLE ROW LEVEL SECURITY", {POLICIES}),
    "a grant revoked": ("REVOKE INSERT ON events FROM churn_app", {GRANTS}),
    "a grant to everybody": ("GRANT SELECT ON recovery_cases TO PUBLIC", {GRANTS}),
    "a column granted": ("GRANT UPDATE (payload) ON events TO pg_monitor", {GRANTS}),
    "an owner changed": ("ALTER FUNCTION classify_failure() OWNER TO postgres", {GRANTS}),
    "a sequence back": ("SELECT setval('creator_settings_history_id_seq', 1, false)", {SEQUENCES}),
    "a sequence's step": ("ALTER TABLE creator_settings_history ALTER COLUMN id SET INCREMENT BY 2", {TYPES}),
    "the state table dirty": ("UPDATE schema_migrations SET dirty = true", {"the state table is not dirty"}),
    "another version": (
        "UPDATE schema_migrations SET version = 11",
        {"the migration version is the expected one"},
    ),
    "a job stuck": (
        "UPDATE pgboss.job SET state = 'active', started_on = now() - interval '2 hours'"
        " WHERE id = (SELECT id FROM pgboss.job WHERE name = 'reminders' LIMIT 1)",
        {QUEUE},
    ),
    "a job waits": (
        "UPDATE pgboss.job SET state = 'created', start_after = now() - interval '2 hours'"
        " WHERE id = (SELECT id FROM pgboss.job WHERE name = 'reminders' LIMIT 1)",
        {QUEUE},
    ),
    "jobs failed": (
        "UPDATE pgboss.job SET state = 'failed' WHERE id IN (SELECT id FROM pgboss.job LIMIT 11)",
        {QUEUE},
    ),
}

ALLOWED = {
    "an event comes": (
        "INSERT INTO events (whop_event_id, type, membership_id, company_id, payload) VALUES ('e', 't', 'm', 'c', '{}')"
    ),
    "an event is dealt with": f"UPDATE events SET processed = true, processed_at = now() WHERE id = {NEWEST}",
    "a case comes": ONE_CASE.format("new"),
    "a case goes on": "UPDATE recovery_cases SET attempts = attempts + 1, last_nudge_at = now(), status = 'cancelled'"
    f" WHERE {BEFORE}",
    "somebody changes settings": "UPDATE creator_settings SET incentive_days = 5 WHERE company_id = 'biz_03'",
    "a company joins": "INSERT INTO creator_settings (company_id) VALUES ('biz_new')",
    "ten jobs failed": "UPDATE pgboss.job SET state = 'failed' WHERE id IN (SELECT id FROM pgboss.job LIMIT 10)",
    "a queue is added": "SELECT pgboss.create_queue('digest', '{}')",
}
