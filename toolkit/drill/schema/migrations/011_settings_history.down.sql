-- Forget the settings that were changed.
DROP TRIGGER creator_settings_remember ON creator_settings;
DROP FUNCTION remember_settings();
DROP TABLE creator_settings_history;
