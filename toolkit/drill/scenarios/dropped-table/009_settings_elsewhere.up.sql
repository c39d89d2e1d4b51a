-- Settings move to the account service.
DROP TABLE creator_settings;
