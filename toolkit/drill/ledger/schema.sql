-- The ledger. Times are microseconds since 1970-01-01 UTC and never go backwards within one ledger.
-- No user ids, no bodies, no signatures: the ledger is kept with the report.

CREATE TABLE IF NOT EXISTS runs (           -- one for each start of the senders
    run        INTEGER PRIMARY KEY,
    seed       INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,                     -- NULL: killed, or still running
    ending     TEXT                         -- drained, gave_up, stopped
);

CREATE TABLE IF NOT EXISTS events (
    id               TEXT PRIMARY KEY,
    type             TEXT    NOT NULL,
    membership       TEXT    NOT NULL,
    company          TEXT    NOT NULL,
    amount           INTEGER NOT NULL,      -- cents
    created_at       INTEGER NOT NULL,
    first_attempt_at INTEGER NOT NULL,
    acknowledged_at  INTEGER                -- the first 2xx; NULL: none yet
);

CREATE INDEX IF NOT EXISTS events_membership ON events (membership);

CREATE TABLE IF NOT EXISTS requests (
    id          INTEGER PRIMARY KEY,
    at          INTEGER NOT NULL,           -- written before it is sent
    kind        TEXT    NOT NULL,           -- webhook, read, cron
    method      TEXT    NOT NULL,
    path        TEXT    NOT NULL,           -- without a query
    event_id    TEXT REFERENCES events (id),
    attempt     INTEGER NOT NULL,
    answered_at INTEGER,                    -- NULL: no outcome was recorded, because the senders ended first
    status      INTEGER,                    -- NULL: no answer
    ms          REAL,
    error       TEXT,                       -- the kind of failure when there was no whole answer
    deployment  TEXT,
    failed      INTEGER GENERATED ALWAYS AS
        (answered_at IS NOT NULL AND (status IS NULL OR error IS NOT NULL OR status >= 500 OR status = 429)) VIRTUAL
);

CREATE INDEX IF NOT EXISTS requests_answered ON requests (answered_at);

CREATE VIEW IF NOT EXISTS attempts AS
    SELECT event_id,
           attempt AS n,
           at      AS sent_at,
           status,
           error,
           ms      AS latency_ms,
           CASE WHEN error IS NULL AND status BETWEEN 200 AND 299 THEN answered_at END AS acknowledged_at
    FROM requests
    WHERE event_id IS NOT NULL;

CREATE TABLE IF NOT EXISTS unsent (         -- what there was no capacity to send in time
    kind  TEXT PRIMARY KEY,
    count INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS baseline (       -- one row: what the database held before traffic
    only        INTEGER PRIMARY KEY CHECK (only = 1),
    recorded_at INTEGER NOT NULL,
    events      INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS baseline_ids (   -- the ids as runs of numbers: evt_seed_0 to evt_seed_19999 is one row
    prefix TEXT    NOT NULL,
    first  INTEGER,                         -- NULL: the prefix is the whole id
    last   INTEGER
);
