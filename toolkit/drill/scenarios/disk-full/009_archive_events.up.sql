-- Keep a copy of every event, in steps that can be stopped and gone on with.
CREATE TABLE events_archive (LIKE events INCLUDING DEFAULTS);

DO $$
BEGIN
    LOOP
        INSERT INTO events_archive SELECT * FROM events LIMIT 1;
        COMMIT;
    END LOOP;
END
$$;

ALTER TABLE events_archive ADD PRIMARY KEY (id);
