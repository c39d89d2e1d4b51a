-- Drop the companies' choices; the service falls back to its defaults.
DROP TABLE creator_settings;
