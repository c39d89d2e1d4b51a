-- Seconds in which the senders found the service down or degraded. A request counts in the second in which it was sent;
-- one that failed counts in every second in which it was under way, so that a service that hangs is seen to hang even
-- while every connection is taken and nothing new can be sent.
WITH RECURSIVE
    spans (second, until, webhook, failed, acknowledged) AS (
        SELECT at / 1000000,
               CASE WHEN failed THEN answered_at / 1000000 ELSE at / 1000000 END,
               kind = 'webhook',
               failed,
               kind = 'webhook' AND error IS NULL AND status BETWEEN 200 AND 299
        FROM requests
        WHERE answered_at IS NOT NULL
          AND at >= :since
          AND at < :until
        UNION ALL
        SELECT second + 1, until, webhook, failed, acknowledged
        FROM spans
        WHERE second < until
    ),
    seconds AS (
        SELECT sum(webhook) >= :min_requests AND sum(acknowledged) = 0        AS down,
               count(*) >= :min_requests AND sum(failed) > :degraded * count(*) AS degraded
        FROM spans
        GROUP BY second
    )
SELECT ifnull(sum(down), 0)                  AS downtime_s,
       ifnull(sum(degraded AND NOT down), 0) AS degraded_s
FROM seconds
