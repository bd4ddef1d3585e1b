-- API calls. Those that a rule blocked count, too: take them out with `calls - blocked_calls`.
-- quota: quota_calls, plan_quota_calls, plan_quota_calls_30d
SELECT company_id, day, calls AS quantity
FROM marts.company_usage_daily
