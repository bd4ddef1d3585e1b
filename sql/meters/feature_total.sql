-- What feature events add up to, all features together. Name features in a WHERE to meter one of them.
-- quota: quota_feature_total, plan_quota_feature_total, plan_quota_feature_total_30d
SELECT account_id AS company_id, day, total AS quantity
FROM marts.daily_feature_totals
