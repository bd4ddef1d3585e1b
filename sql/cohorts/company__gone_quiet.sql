-- Companies that called in the last 30 days, but not in the last 7.
SELECT company_id
FROM marts.company_profiles
WHERE calls_30d > 0 AND calls_7d = 0
