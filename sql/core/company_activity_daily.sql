-- The days on which a company did anything: an API call, an action or a feature event.
-- grain: day, company_id
-- rebuild: day
-- columns:
--   day         DATE       GMT day
--   company_id  VARCHAR    the company
--   first_at    TIMESTAMP  first sign of the day, UTC
--   last_at     TIMESTAMP  last sign of the day, UTC
WITH signs AS (
    SELECT day, company_id, first_at, last_at FROM marts.company_usage_daily
    UNION ALL
    SELECT day, company_id, first_at, last_at FROM marts.action_usage_daily
    UNION ALL
    SELECT day, account_id, first_at, last_at FROM marts.daily_feature_totals
)
SELECT day, company_id, min(first_at) AS first_at, max(last_at) AS last_at
FROM signs
WHERE company_id IS NOT NULL
GROUP BY 1, 2
