-- Show the application one company's rows at a time: app.company_id names it, '*' stands for every company.
ALTER TABLE events ENABLE ROW LEVEL SECURITY;
ALTER TABLE recovery_cases ENABLE ROW LEVEL SECURITY;
ALTER TABLE recovery_actions ENABLE ROW LEVEL SECURITY;
ALTER TABLE creator_settings ENABLE ROW LEVEL SECURITY;

-- The sub-selects are evaluated once for each statement, not once for each row.
CREATE POLICY company_isolation ON events TO churn_app
    USING ((SELECT current_setting('app.company_id', true)) IN ('*', company_id));
CREATE POLICY company_isolation ON recovery_cases TO churn_app
    USING ((SELECT current_setting('app.company_id', true)) IN ('*', company_id));
CREATE POLICY company_isolation ON creator_settings TO churn_app
    USING ((SELECT current_setting('app.company_id', true)) IN ('*', company_id));

-- An action belongs to the company of its case, and the case has its own policy.
CREATE POLICY company_isolation ON recovery_actions TO churn_app
    USING (EXISTS (SELECT FROM recovery_cases WHERE recovery_cases.id = recovery_actions.case_id));
