-- Which companies use the API most, and are they growing? "Before" is the week before the last seven days.
WITH weeks AS (
    SELECT d.company_id,
           sum(d.calls) FILTER (WHERE d.day BETWEEN w.as_of - 6 AND w.as_of) AS last_7_days,
           sum(d.calls) FILTER (WHERE d.day BETWEEN w.as_of - 13 AND w.as_of - 7) AS before
    FROM marts.company_usage_daily AS d
    CROSS JOIN marts.as_of AS w
    WHERE d.company_id IS NOT NULL
    GROUP BY ALL
)
SELECT p.company_id, p.company_name, p.calls_30d, coalesce(k.last_7_days, 0) AS last_7_days,
       coalesce(k.before, 0) AS before, round(100.0 * coalesce(k.last_7_days, 0) / nullif(k.before, 0) - 100) AS change_percent
FROM marts.company_profiles AS p
LEFT JOIN weeks AS k USING (company_id)
WHERE p.calls_30d > 0
ORDER BY p.calls_30d DESC, p.company_id
LIMIT 20;
