-- migrate:up
ALTER TABLE depot.parcels ADD COLUMN locker text;
CREATE INDEX parcels_by_locker ON depot.parcels (locker);

-- migrate:down
ALTER TABLE depot.parcels DROP COLUMN locker;
