-- Keep a copy of every event. It is only ever added to.
CREATE TABLE events_archive (LIKE events INCLUDING DEFAULTS) WITH (autovacuum_enabled = off);

INSERT INTO events_archive SELECT * FROM events;

ALTER TABLE events_archive ADD PRIMARY KEY (id);
