-- How well a company does, as customer-success people score it. Each column is a component between 0 (bad) and 1 (good);
-- null: it does not apply, and the others count alone. (least and greatest pass over nulls, hence CASE.) Edit it, or empty
-- the file: then there is no score.
-- weights: recency 3, trend 2, breadth 1, success 2, quota 1
-- good: 0.7
-- fair: 0.4
WITH errors AS (
    SELECT d.company_id, sum(d.errors_4xx + d.errors_5xx) / sum(d.calls) AS share
    FROM marts.company_usage_daily AS d
    JOIN marts.as_of AS w ON d.day > w.as_of - 30 AND d.day <= w.as_of
    GROUP BY 1
)
SELECT
    p.company_id,
    -- Seen today: 1; 30 days ago, or never: 0.
    coalesce(greatest(0, 1 - p.days_since_last_seen / 30), 0) AS recency,
    -- As many calls as in the 30 days before: one half; half as many again: 1; half of them gone: 0.
    CASE WHEN p.calls_trend_30d IS NOT NULL THEN least(1, greatest(0, 0.5 + p.calls_trend_30d)) END AS trend,
    -- Five features are many. Who is not tracked in the product at all is not judged by it.
    CASE WHEN p.features_used_30d > 0 THEN least(1, p.features_used_30d / 5) END AS breadth,
    -- No errors: 1; every fifth call fails: 0.
    CASE WHEN e.share IS NOT NULL THEN greatest(0, 1 - 5 * e.share) END AS success,
    -- Who uses what is paid for stays.
    CASE WHEN TRY_CAST(p.metadata ->> '$.plan_quota_calls_30d' AS DOUBLE) > 0
        THEN least(1, p.calls_30d / TRY_CAST(p.metadata ->> '$.plan_quota_calls_30d' AS DOUBLE)) END AS quota
FROM marts.company_profiles AS p
LEFT JOIN errors AS e ON e.company_id = p.company_id
