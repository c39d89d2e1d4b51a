-- Show the application every row again.
DROP POLICY company_isolation ON recovery_actions;
DROP POLICY company_isolation ON creator_settings;
DROP POLICY company_isolation ON recovery_cases;
DROP POLICY company_isolation ON events;

ALTER TABLE creator_settings DISABLE ROW LEVEL SECURITY;
ALTER TABLE recovery_actions DISABLE ROW LEVEL SECURITY;
ALTER TABLE recovery_cases DISABLE ROW LEVEL SECURITY;
ALTER TABLE events DISABLE ROW LEVEL SECURITY;
