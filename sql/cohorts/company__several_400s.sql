-- Companies that got five or more 4xx answers on one of the last seven days. (429s have a cohort of their own.)
SELECT DISTINCT company_id
FROM (
    SELECT e.company_id, e.day
    FROM marts.error_usage_daily AS e
    CROSS JOIN marts.as_of AS w
    WHERE e.status BETWEEN 400 AND 499 AND e.status <> 429 AND e.day BETWEEN w.as_of - 6 AND w.as_of
    GROUP BY 1, 2
    HAVING sum(e.calls) >= 5
)
