-- Users that called in the last 30 days, but not in the last 7.
SELECT user_id
FROM marts.user_profiles
WHERE calls_30d > 0 AND calls_7d = 0
