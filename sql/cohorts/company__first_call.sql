-- Companies whose first API call ever was within the last seven days: all their calls are.
SELECT company_id
FROM marts.company_profiles
WHERE events > 0 AND calls = calls_7d
