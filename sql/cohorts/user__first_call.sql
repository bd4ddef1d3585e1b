-- Users whose first API call ever was within the last seven days: all their calls are.
SELECT user_id
FROM marts.user_profiles
WHERE events > 0 AND calls = calls_7d
