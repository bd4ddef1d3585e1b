-- The days on which a company did anything: an API call, an action or a feature event.
-- grain: day, company_id
-- rebuild: day
-- days: core.api_usage_daily, core.action_usage_daily, marts.daily_feature_totals, core.claim_changed_days
-- columns:
--   day         DATE       GMT day
--   company_id  VARCHAR    the company
--   first_at    TIMESTAMP  first sign of the day, UTC
--   last_at     TIMESTAMP  last sign of the day, UTC
WITH signs AS (
    SELECT day, company_id, first_at, last_at FROM marts.company_usage_daily
    UNION ALL
    SELECT u.day, nullif(a.company_id, ''), u.first_at, u.last_at
    FROM core.action_usage_daily AS u
    JOIN core.attribution AS a
        ON a.day = u.day AND a.own_company_id = u.company_id AND a.own_user_id = u.user_id
        AND a.session_token = u.session_token
    UNION ALL
    SELECT day, account_id, first_at, last_at FROM marts.daily_feature_totals
)
SELECT day, company_id, min(first_at) AS first_at, max(last_at) AS last_at
FROM signs
WHERE company_id IS NOT NULL
GROUP BY 1, 2
