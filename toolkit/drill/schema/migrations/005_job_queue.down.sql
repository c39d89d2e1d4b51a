-- Drop the job queue with every job in it, done or not.
DROP SCHEMA pgboss CASCADE;
