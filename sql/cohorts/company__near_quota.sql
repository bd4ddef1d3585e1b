-- Companies that have used at least four fifths of the quota in their metadata (plan_quota_calls_30d).
SELECT company_id
FROM marts.company_profiles
WHERE calls_30d >= 0.8 * TRY_CAST(metadata ->> '$.plan_quota_calls_30d' AS DOUBLE)
  AND calls_30d <= TRY_CAST(metadata ->> '$.plan_quota_calls_30d' AS DOUBLE)
