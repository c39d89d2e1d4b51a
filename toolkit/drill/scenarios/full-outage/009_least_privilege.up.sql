-- Take from the application what it does not need.
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM churn_app;
