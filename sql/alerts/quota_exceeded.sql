-- Companies that have used more than the quota in their metadata (plan_quota_calls_30d).
SELECT company_id, format('{} of {:.0f} calls', calls_30d, CAST(metadata ->> '$.plan_quota_calls_30d' AS DOUBLE)) AS detail
FROM marts.company_profiles
WHERE calls_30d > TRY_CAST(metadata ->> '$.plan_quota_calls_30d' AS DOUBLE)
