-- Nobody is nudged for ever. Verified, and wanted.
ALTER TABLE creator_settings ADD COLUMN nudge_limit integer NOT NULL DEFAULT 10;
