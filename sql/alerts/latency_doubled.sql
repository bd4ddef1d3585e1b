-- Companies of which nine of ten calls take twice as long as in the four weeks before.
WITH weeks AS (
    SELECT
        l.company_id,
        sum(CASE WHEN l.day > w.as_of - 7 THEN l.calls END) AS calls_now,
        sum(CASE WHEN l.day <= w.as_of - 7 THEN l.calls END) AS calls_before,
        sum(CASE WHEN l.day > w.as_of - 7 THEN l.calls * l.p90_ms END) / calls_now AS p90_now,
        sum(CASE WHEN l.day <= w.as_of - 7 THEN l.calls * l.p90_ms END) / calls_before AS p90_before
    FROM marts.company_latency_daily AS l
    JOIN marts.as_of AS w ON l.day > w.as_of - 35 AND l.day <= w.as_of
    WHERE l.company_id IS NOT NULL AND l.calls > 0
    GROUP BY 1
)
SELECT company_id, format('9 of 10 calls within {:.0f} ms, {:.0f} ms before', p90_now, p90_before) AS detail
FROM weeks
WHERE calls_now >= 50 AND calls_before >= 50 AND p90_now >= 2 * p90_before
