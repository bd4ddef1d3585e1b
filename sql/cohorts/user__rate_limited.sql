-- Users that got five or more 429s in the last seven days.
SELECT e.user_id
FROM marts.error_usage_daily AS e
CROSS JOIN marts.as_of AS w
WHERE e.status = 429 AND e.day BETWEEN w.as_of - 6 AND w.as_of
GROUP BY 1
HAVING sum(e.calls) >= 5
