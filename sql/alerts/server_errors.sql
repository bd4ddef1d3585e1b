-- Companies of whose calls in the last seven days one of twenty or more ended in a 5xx.
SELECT d.company_id, format('{} of {} calls', CAST(sum(d.errors_5xx) AS BIGINT), CAST(sum(d.calls) AS BIGINT)) AS detail
FROM marts.company_usage_daily AS d
JOIN marts.as_of AS w ON d.day > w.as_of - 7 AND d.day <= w.as_of
WHERE d.company_id IS NOT NULL
GROUP BY 1
HAVING sum(d.calls) >= 20 AND sum(d.errors_5xx) >= 0.05 * sum(d.calls)
