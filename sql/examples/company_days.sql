-- How has one company used the API, day by day? Days without a call are there, with zeros.
WITH asked AS (
    SELECT 'cmp_fernwhistle' AS company_id
), days AS (
    SELECT a.company_id, CAST(d.day AS DATE) AS day
    FROM asked AS a
    CROSS JOIN marts.as_of AS w
    CROSS JOIN LATERAL (SELECT unnest(generate_series(w.as_of - 29, w.as_of, INTERVAL 1 DAY)) AS day) AS d
)
SELECT days.day, coalesce(u.calls, 0) AS calls, coalesce(u.errors_4xx + u.errors_5xx, 0) AS errors,
       coalesce(u.users, 0) AS users
FROM days
LEFT JOIN marts.company_usage_daily AS u ON u.company_id = days.company_id AND u.day = days.day
ORDER BY days.day;
