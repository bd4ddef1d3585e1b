-- The days on which a user did anything: an API call, an action or a feature event.
-- grain: day, user_id
-- rebuild: day
-- columns:
--   day         DATE       GMT day
--   user_id  VARCHAR    the user
--   first_at    TIMESTAMP  first sign of the day, UTC
--   last_at     TIMESTAMP  last sign of the day, UTC
WITH signs AS (
    SELECT day, user_id, first_at, last_at FROM marts.user_usage_daily
    UNION ALL
    SELECT day, user_id, first_at, last_at FROM marts.action_usage_daily
    UNION ALL
    SELECT day, user_id, first_at, last_at FROM marts.daily_feature_totals
)
SELECT day, user_id, min(first_at) AS first_at, max(last_at) AS last_at
FROM signs
WHERE user_id IS NOT NULL
GROUP BY 1, 2
