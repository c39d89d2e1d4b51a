-- migrate:up
CREATE SCHEMA depot;
CREATE TABLE depot.parcels (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sent_to text NOT NULL,
    weight_g integer NOT NULL CHECK (weight_g > 0)
);
CREATE TABLE depot.scans (
    barcode text PRIMARY KEY,
    parcel bigint NOT NULL REFERENCES depot.parcels (id),
    scanned_at timestamptz NOT NULL
);

-- migrate:down
DROP SCHEMA depot CASCADE;
