DROP TABLE events_archive;
