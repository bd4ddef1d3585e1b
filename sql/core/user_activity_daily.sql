-- The days on which a user did anything: an API call, an action or a feature event.
-- grain: day, user_id
-- rebuild: day
-- days: core.api_usage_daily, core.action_usage_daily, marts.daily_feature_totals, core.claim_changed_days
-- columns:
--   day         DATE       GMT day
--   user_id  VARCHAR    the user
--   first_at    TIMESTAMP  first sign of the day, UTC
--   last_at     TIMESTAMP  last sign of the day, UTC
WITH signs AS (
    SELECT day, user_id, first_at, last_at FROM marts.user_usage_daily
    UNION ALL
    SELECT u.day, nullif(a.user_id, ''), u.first_at, u.last_at
    FROM core.action_usage_daily AS u
    JOIN core.attribution AS a
        ON a.day = u.day AND a.own_company_id = u.company_id AND a.own_user_id = u.user_id
        AND a.session_token = u.session_token
    UNION ALL
    SELECT day, user_id, first_at, last_at FROM marts.daily_feature_totals
)
SELECT day, user_id, min(first_at) AS first_at, max(last_at) AS last_at
FROM signs
WHERE user_id IS NOT NULL
GROUP BY 1, 2
