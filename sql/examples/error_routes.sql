-- Where do one company's calls fail, in the last seven days?
WITH asked AS (
    SELECT 'cmp_vellumtide' AS company_id
)
SELECT e.verb, e.route, e.status, sum(e.calls) AS calls, count(DISTINCT e.day) AS days,
       count(DISTINCT e.user_id) AS users, max(e.day) AS last_day
FROM marts.error_usage_daily AS e
JOIN asked USING (company_id)
CROSS JOIN marts.as_of AS w
WHERE e.day BETWEEN w.as_of - 6 AND w.as_of
GROUP BY ALL
ORDER BY calls DESC, e.route, e.verb, e.status;
