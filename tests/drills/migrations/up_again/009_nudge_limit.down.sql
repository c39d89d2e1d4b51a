ALTER TABLE creator_settings DROP COLUMN nudge_limit;
