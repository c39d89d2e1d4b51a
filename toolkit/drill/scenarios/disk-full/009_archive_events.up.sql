-- Keep a copy of every event, one by one, so that it can be stopped and nobody has to wait.
CREATE TABLE events_archive (LIKE events INCLUDING DEFAULTS);

DO $$
DECLARE
    event events%ROWTYPE;
BEGIN
    FOR event IN SELECT * FROM events LOOP
        INSERT INTO events_archive VALUES (event.*);
        COMMIT;
    END LOOP;
END
$$;

ALTER TABLE events_archive ADD PRIMARY KEY (id);
