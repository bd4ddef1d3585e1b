-- Who is about to outgrow the plan? What was used in the period that goes on, against the quota.
SELECT u.company_id, p.company_name, u.meter, u.subscription_id, u.period_start, u.period_end, u.quantity,
       CAST(u.quota AS BIGINT) AS quota, round(100 * u.share) AS percent_used
FROM marts.meter_usage AS u
LEFT JOIN marts.company_profiles AS p USING (company_id)
WHERE NOT u.is_closed AND u.quantity >= 0.8 * u.quota
ORDER BY percent_used DESC, u.company_id, u.meter;
