-- Companies that called less than half as much in the last seven days as in an average week of the four before.
WITH weeks AS (
    SELECT
        d.company_id,
        sum(CASE WHEN d.day > w.as_of - 7 THEN d.calls ELSE 0 END) AS calls_now,
        sum(CASE WHEN d.day <= w.as_of - 7 THEN d.calls ELSE 0 END) / 4 AS calls_before
    FROM marts.company_usage_daily AS d
    JOIN marts.as_of AS w ON d.day > w.as_of - 35 AND d.day <= w.as_of
    WHERE d.company_id IS NOT NULL
    GROUP BY 1
)
SELECT company_id, format('{} calls in 7 days, {:.0f} a week before', CAST(calls_now AS BIGINT), calls_before) AS detail
FROM weeks
WHERE calls_before >= 20 AND calls_now < calls_before / 2
