-- Who is about to outgrow the plan? The quota is a number in the company's metadata.
SELECT p.company_id, p.company_name, plan.value AS plan, CAST(quota.value_number AS BIGINT) AS quota,
       p.calls_30d, round(100.0 * p.calls_30d / quota.value_number) AS percent_used
FROM marts.company_profiles AS p
JOIN marts.company_metadata AS quota
    ON quota.company_id = p.company_id AND quota.path = 'plan_quota_calls_30d' AND quota.type = 'number'
LEFT JOIN marts.company_metadata AS plan ON plan.company_id = p.company_id AND plan.path = 'plan_name'
WHERE p.calls_30d >= 0.8 * quota.value_number
ORDER BY percent_used DESC, p.company_id;
