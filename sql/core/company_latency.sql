-- How long the API calls of a company took in the last 7 days: for its profile.
-- grain: company_id
-- columns:
--   company_id         VARCHAR  the company
--   latency_p90_ms_7d  DOUBLE   nine of ten calls took no longer, milliseconds
WITH entries AS (
    SELECT a.company_id, unnest(u.latencies) AS entry
    FROM core.api_usage_daily AS u
    JOIN core.attribution AS a
        ON a.day = u.day AND a.own_company_id = u.company_id AND a.own_user_id = u.user_id
        AND a.session_token = u.session_token AND a.anonymous_id = u.anonymous_id
    JOIN marts.as_of AS w ON u.day > w.as_of - 7 AND u.day <= w.as_of
    WHERE a.company_id <> ''
), buckets AS (
    SELECT company_id, entry & 255 AS bucket, sum(entry >> 8) AS calls FROM entries GROUP BY 1, 2
), ranked AS (
    SELECT company_id, bucket, sum(calls) OVER (PARTITION BY company_id) AS calls,
           sum(calls) OVER (PARTITION BY company_id ORDER BY bucket) AS up_to
    FROM buckets
), percentiles AS (
    SELECT company_id, min(CASE WHEN up_to * 100 >= calls * 90 THEN bucket END) AS p90 FROM ranked GROUP BY 1
)
SELECT company_id, latency_ms(p90) AS latency_p90_ms_7d FROM percentiles
