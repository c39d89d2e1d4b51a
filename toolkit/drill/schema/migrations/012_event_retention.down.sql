-- Go back to one age for all events.
ALTER TABLE events DROP CONSTRAINT events_processed_at_set;
DROP INDEX events_keep_until_idx;
ALTER TABLE events DROP COLUMN keep_until;
