-- How long the API calls of a company took, by day: from request.time to response.time. Percentiles are of the calls that
-- say so, and at most 5 % off. Calls of no company are there too, with company_id null.
-- grain: day, company_id
-- rebuild: day
-- days: marts.company_usage_daily
-- columns:
--   day            DATE     GMT day of request.time
--   company_id     VARCHAR  the company that the calls belong to, null for none
--   calls          BIGINT   calls of which it is known how long they took
--   untimed_calls  BIGINT   calls of which it is not: no usable response.time, or loaded by an older release
--   p50_ms         DOUBLE   half of them took no longer, milliseconds; null: of none it is known
--   p90_ms         DOUBLE   nine of ten took no longer
--   p99_ms         DOUBLE   99 of a hundred took no longer
-- page: company
-- draws: highest(p90_ms)
WITH entries AS (
    SELECT u.day, a.company_id, unnest(u.latencies) AS entry
    FROM core.api_usage_daily AS u
    JOIN core.attribution AS a
        ON a.day = u.day AND a.own_company_id = u.company_id AND a.own_user_id = u.user_id
        AND a.session_token = u.session_token AND a.anonymous_id = u.anonymous_id
), companies AS (
    SELECT day, company_id, sum(entry >> 8) AS calls, min(entry >> 8) AS least, max(entry >> 8) AS most,
           quantile_disc(entry & 255, [0.5, 0.9, 0.99]) AS percentiles
    FROM entries
    GROUP BY 1, 2
), buckets AS (
    -- Where calls stand for different numbers of calls (sampling, merged histograms), these have to be counted.
    SELECT e.day, e.company_id, e.entry & 255 AS bucket, c.calls AS all_calls, sum(e.entry >> 8) AS calls
    FROM entries AS e
    JOIN companies AS c ON c.day = e.day AND c.company_id = e.company_id AND c.least < c.most
    GROUP BY 1, 2, 3, 4
), ranked AS (
    SELECT day, company_id, bucket, all_calls,
           sum(calls) OVER (PARTITION BY day, company_id ORDER BY bucket) AS up_to
    FROM buckets
), percentiles AS (
    SELECT day, nullif(company_id, '') AS company_id, calls,
           percentiles[1] AS p50, percentiles[2] AS p90, percentiles[3] AS p99
    FROM companies
    WHERE least = most
    UNION ALL
    SELECT
        day, nullif(company_id, '') AS company_id, max(all_calls) AS calls,
        min(CASE WHEN up_to * 100 >= all_calls * 50 THEN bucket END) AS p50,
        min(CASE WHEN up_to * 100 >= all_calls * 90 THEN bucket END) AS p90,
        min(CASE WHEN up_to * 100 >= all_calls * 99 THEN bucket END) AS p99
    FROM ranked
    GROUP BY 1, 2
)
SELECT
    d.day, d.company_id,
    CAST(least(coalesce(p.calls, 0), d.calls) AS BIGINT) AS calls,
    CAST(d.calls - least(coalesce(p.calls, 0), d.calls) AS BIGINT) AS untimed_calls,
    latency_ms(p.p50) AS p50_ms,
    latency_ms(p.p90) AS p90_ms,
    latency_ms(p.p99) AS p99_ms
FROM marts.company_usage_daily AS d
LEFT JOIN percentiles AS p ON p.day = d.day AND p.company_id IS NOT DISTINCT FROM d.company_id
