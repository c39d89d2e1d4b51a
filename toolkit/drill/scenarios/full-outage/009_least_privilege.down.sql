-- Give back what the application needs.
GRANT SELECT, INSERT, UPDATE, DELETE ON events, recovery_cases, recovery_actions, creator_settings TO churn_app;

GRANT SELECT ON recovery_kpis TO churn_app;
