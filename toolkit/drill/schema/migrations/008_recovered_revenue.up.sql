-- Book what was won back in its currency, hold a case's fields to each other, and give the dashboard one view to read.
ALTER TABLE recovery_cases ADD COLUMN currency text NOT NULL DEFAULT 'usd';

ALTER TABLE recovery_cases
    ADD CONSTRAINT recovery_cases_status_known CHECK (status IN ('open', 'recovered', 'cancelled', 'terminated')),
    ADD CONSTRAINT recovery_cases_recovered_booked
        CHECK ((recovered_at IS NULL) = (recovered_amount_cents IS NULL)
               AND (status <> 'recovered' OR recovered_at IS NOT NULL)),
    ADD CONSTRAINT recovery_cases_amount_positive CHECK (recovered_amount_cents >= 0);

-- With the reader's rights, so that the policies of the table hold for the view as well.
CREATE VIEW recovery_kpis WITH (security_invoker = true) AS
SELECT
    company_id,
    count(*) AS cases,
    count(*) FILTER (WHERE status = 'open') AS open_cases,
    count(*) FILTER (WHERE status = 'recovered') AS recovered_cases,
    count(*) FILTER (WHERE status IN ('cancelled', 'terminated')) AS ended_cases,
    coalesce(sum(recovered_amount_cents), 0)::bigint AS recovered_amount_cents,
    coalesce(sum(attempts), 0)::bigint AS nudges
FROM recovery_cases
WHERE first_failure_at >= now() - interval '14 days'
GROUP BY company_id;

GRANT SELECT ON recovery_kpis TO churn_app;
