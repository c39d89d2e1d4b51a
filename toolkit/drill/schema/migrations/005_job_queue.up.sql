-- Bring the job queue: the tables that pg-boss 10 lays out (layout version 24), and the queues of this service.
CREATE SCHEMA pgboss;

-- The order matters: states below 'active' wait, states above it are done.
CREATE TYPE pgboss.job_state AS ENUM ('created', 'retry', 'active', 'completed', 'cancelled', 'failed');

CREATE TABLE pgboss.version (
    version        integer PRIMARY KEY,
    maintained_on  timestamptz,
    cron_on        timestamptz,
    monitored_on   timestamptz
);

CREATE TABLE pgboss.queue (
    name               text        PRIMARY KEY,
    policy             text,
    retry_limit        integer,
    retry_delay        integer,
    retry_backoff      boolean,
    expire_seconds     integer,
    retention_minutes  integer,
    dead_letter        text        REFERENCES pgboss.queue (name),
    partition_name     text,
    created_on         timestamptz NOT NULL DEFAULT now(),
    updated_on         timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE pgboss.schedule (
    name        text        PRIMARY KEY REFERENCES pgboss.queue ON DELETE CASCADE,
    cron        text        NOT NULL,
    timezone    text,
    data        jsonb,
    options     jsonb,
    created_on  timestamptz NOT NULL DEFAULT now(),
    updated_on  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE pgboss.subscription (
    event       text        NOT NULL,
    name        text        NOT NULL REFERENCES pgboss.queue ON DELETE CASCADE,
    created_on  timestamptz NOT NULL DEFAULT now(),
    updated_on  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (event, name)
);

CREATE TABLE pgboss.job (
    id             uuid             NOT NULL DEFAULT gen_random_uuid(),
    name           text             NOT NULL,
    priority       integer          NOT NULL DEFAULT 0,
    data           jsonb,
    state          pgboss.job_state NOT NULL DEFAULT 'created',
    retry_limit    integer          NOT NULL DEFAULT 2,
    retry_count    integer          NOT NULL DEFAULT 0,
    retry_delay    integer          NOT NULL DEFAULT 0,
    retry_backoff  boolean          NOT NULL DEFAULT false,
    start_after    timestamptz      NOT NULL DEFAULT now(),
    started_on     timestamptz,
    singleton_key  text,
    singleton_on   timestamp,
    expire_in      interval         NOT NULL DEFAULT '15 minutes',
    created_on     timestamptz      NOT NULL DEFAULT now(),
    completed_on   timestamptz,
    keep_until     timestamptz      NOT NULL DEFAULT now() + interval '14 days',
    output         jsonb,
    dead_letter    text,
    policy         text,
    PRIMARY KEY (name, id)
) PARTITION BY LIST (name);

CREATE TABLE pgboss.archive (LIKE pgboss.job);
ALTER TABLE pgboss.archive ADD PRIMARY KEY (name, id);
ALTER TABLE pgboss.archive ADD archived_on timestamptz NOT NULL DEFAULT now();
CREATE INDEX archive_i1 ON pgboss.archive (archived_on);

-- A queue is a row and a partition of its own, named by the hash of the queue's name.
CREATE FUNCTION pgboss.create_queue(queue_name text, options json) RETURNS void LANGUAGE plpgsql AS $function$
DECLARE
    partition text := 'j' || encode(sha224(queue_name::bytea), 'hex');
BEGIN
    INSERT INTO pgboss.queue
        (name, policy, retry_limit, retry_delay, retry_backoff, expire_seconds, retention_minutes, dead_letter,
         partition_name)
    VALUES
        (queue_name, options->>'policy', (options->>'retryLimit')::integer, (options->>'retryDelay')::integer,
         (options->>'retryBackoff')::boolean, (options->>'expireInSeconds')::integer,
         (options->>'retentionMinutes')::integer, options->>'deadLetter', partition)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    EXECUTE format('CREATE TABLE pgboss.%I (LIKE pgboss.job INCLUDING DEFAULTS)', partition);
    EXECUTE format('ALTER TABLE pgboss.%I ADD PRIMARY KEY (name, id)', partition);
    EXECUTE format(
        'ALTER TABLE pgboss.%I
             ADD CONSTRAINT q_fkey FOREIGN KEY (name) REFERENCES pgboss.queue (name)
                 ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED,
             ADD CONSTRAINT dlq_fkey FOREIGN KEY (dead_letter) REFERENCES pgboss.queue (name)
                 ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED,
             ADD CONSTRAINT cjc CHECK (name = %L)', partition, queue_name);
    EXECUTE format(
        'CREATE UNIQUE INDEX %1$s_i1 ON pgboss.%1$I (name, COALESCE(singleton_key, ''''))
             WHERE state = ''created'' AND policy = ''short''', partition);
    EXECUTE format(
        'CREATE UNIQUE INDEX %1$s_i2 ON pgboss.%1$I (name, COALESCE(singleton_key, ''''))
             WHERE state = ''active'' AND policy = ''singleton''', partition);
    EXECUTE format(
        'CREATE UNIQUE INDEX %1$s_i3 ON pgboss.%1$I (name, state, COALESCE(singleton_key, ''''))
             WHERE state <= ''active'' AND policy = ''stately''', partition);
    EXECUTE format(
        'CREATE UNIQUE INDEX %1$s_i4 ON pgboss.%1$I (name, singleton_on, COALESCE(singleton_key, ''''))
             WHERE state <> ''cancelled'' AND singleton_on IS NOT NULL', partition);
    EXECUTE format(
        'CREATE INDEX %1$s_i5 ON pgboss.%1$I (name, start_after) INCLUDE (priority, created_on, id)
             WHERE state < ''active''', partition);
    EXECUTE format('ALTER TABLE pgboss.job ATTACH PARTITION pgboss.%I FOR VALUES IN (%L)', partition, queue_name);
END
$function$;

CREATE FUNCTION pgboss.delete_queue(queue_name text) RETURNS void LANGUAGE plpgsql AS $function$
DECLARE
    partition text;
BEGIN
    SELECT partition_name INTO partition FROM pgboss.queue WHERE name = queue_name;
    EXECUTE format('DROP TABLE IF EXISTS pgboss.%I', partition);
    DELETE FROM pgboss.queue WHERE name = queue_name;
END
$function$;

INSERT INTO pgboss.version (version) VALUES (24);

-- A reminder may be late and must not be lost: ten tries, the pauses between them doubling from five seconds.
SELECT pgboss.create_queue(
    'reminders',
    '{"policy": "standard", "retryLimit": 10, "retryDelay": 5, "retryBackoff": true, "expireInSeconds": 60}');
SELECT pgboss.create_queue(
    'weekly-report',
    '{"policy": "standard", "retryLimit": 2, "retryDelay": 60, "retryBackoff": false, "expireInSeconds": 900}');
INSERT INTO pgboss.schedule (name, cron, timezone) VALUES ('weekly-report', '0 6 * * 1', 'UTC');

GRANT USAGE ON SCHEMA pgboss TO churn_app;
GRANT SELECT, INSERT, UPDATE, DELETE
    ON pgboss.version, pgboss.queue, pgboss.schedule, pgboss.subscription, pgboss.job, pgboss.archive TO churn_app;
