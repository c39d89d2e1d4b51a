-- Drop the webhooks that were accepted, and with them the memory of what was already processed.
DROP TABLE events;
