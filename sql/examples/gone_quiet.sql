-- Which companies called in the last 30 days, but not in the last 7? Whose accounts are they?
SELECT p.company_id, p.company_name, p.calls_30d, max(d.day) AS last_call_day,
       any_value(w.as_of) - max(d.day) AS days_quiet, p.crm ->> '$."Company owner"' AS owner
FROM marts.company_profiles AS p
JOIN marts.company_usage_daily AS d USING (company_id)
CROSS JOIN marts.as_of AS w
WHERE p.calls_30d > 0 AND p.calls_7d = 0 AND d.day <= w.as_of
GROUP BY ALL
ORDER BY p.calls_30d DESC, p.company_id;
