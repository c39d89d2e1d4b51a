-- Say in each event until when it is kept, so that the clean-up follows the row and not a constant in the code.
ALTER TABLE events ADD COLUMN keep_until timestamptz NOT NULL DEFAULT now() + interval '60 days';

UPDATE events
SET keep_until = created_at + interval '60 days';

CREATE INDEX events_keep_until_idx ON events (keep_until) WHERE processed;

ALTER TABLE events
    ADD CONSTRAINT events_processed_at_set CHECK (NOT processed OR processed_at IS NOT NULL);
