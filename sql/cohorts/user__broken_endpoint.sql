-- Users that got three or more 5xx answers on one route within the last seven days.
SELECT DISTINCT user_id
FROM (
    SELECT e.user_id, e.verb, e.route
    FROM marts.error_usage_daily AS e
    CROSS JOIN marts.as_of AS w
    WHERE e.status >= 500 AND e.day BETWEEN w.as_of - 6 AND w.as_of
    GROUP BY 1, 2, 3
    HAVING sum(e.calls) >= 3
)
