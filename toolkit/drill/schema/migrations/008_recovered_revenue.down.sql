-- Drop the dashboard's view, the rules between a case's fields, and the currency.
DROP VIEW recovery_kpis;

ALTER TABLE recovery_cases
    DROP CONSTRAINT recovery_cases_amount_positive,
    DROP CONSTRAINT recovery_cases_recovered_booked,
    DROP CONSTRAINT recovery_cases_status_known,
    DROP COLUMN currency;
