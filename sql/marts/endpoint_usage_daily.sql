-- API calls by day, company and endpoint, where [usage] routes = "all" was set while their files were loaded. Of a company's
-- endpoints on a day the 200 with the most calls, all others together as (other).
-- grain: day, company_id, route, verb
-- rebuild: day
-- days: core.endpoint_usage_daily, core.claim_changed_days
-- columns:
--   day         DATE     GMT day of request.time
--   company_id  VARCHAR  the company that the calls belong to, null for none
--   verb        VARCHAR  HTTP method, '' if unknown, and of (other)
--   route       VARCHAR  path of the address, numbers and hashes in it as :id, '' if unknown; (other): all beyond 200
--   calls       BIGINT   records times their weight
--   errors      BIGINT   calls with status 400 to 599
--   p90_ms      DOUBLE   nine of ten calls took no longer, milliseconds, at most 5 % off; null: of none it is known
-- checks:
--   errors_are_calls: SELECT * FROM marts.endpoint_usage_daily WHERE errors > calls
-- page: company
-- draws: calls
WITH attributed AS (
    SELECT u.day, a.company_id, u.verb, u.route, u.calls, u.errors, u.latencies
    FROM core.endpoint_usage_daily AS u
    JOIN core.attribution AS a
        ON a.day = u.day AND a.own_company_id = u.company_id AND a.own_user_id = u.user_id
        AND a.session_token = u.session_token AND a.anonymous_id = u.anonymous_id
), endpoints AS (
    SELECT day, company_id, verb, route, saturating_sum(calls) AS calls, saturating_sum(errors) AS errors
    FROM attributed
    GROUP BY 1, 2, 3, 4
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY day, company_id ORDER BY calls DESC, route, verb) AS place FROM endpoints
), told AS (
    SELECT day, company_id, verb, route, calls, errors,
           CASE WHEN place <= 200 THEN verb ELSE '' END AS told_verb,
           CASE WHEN place <= 200 THEN route ELSE '(other)' END AS told_route
    FROM ranked
), entries AS (
    SELECT t.day, t.company_id, t.told_verb, t.told_route, unnest(a.latencies) AS entry
    FROM attributed AS a
    JOIN told AS t ON t.day = a.day AND t.company_id = a.company_id AND t.verb = a.verb AND t.route = a.route
), buckets AS (
    SELECT day, company_id, told_verb, told_route, entry & 255 AS bucket, sum(entry >> 8) AS calls
    FROM entries
    GROUP BY 1, 2, 3, 4, 5
), up_to AS (
    SELECT *, sum(calls) OVER (PARTITION BY day, company_id, told_verb, told_route) AS all_calls,
           sum(calls) OVER (PARTITION BY day, company_id, told_verb, told_route ORDER BY bucket) AS up_to
    FROM buckets
), percentiles AS (
    SELECT day, company_id, told_verb, told_route,
           min(CASE WHEN up_to * 100 >= all_calls * 90 THEN bucket END) AS p90
    FROM up_to
    GROUP BY 1, 2, 3, 4
), sums AS (
    SELECT day, company_id, told_verb, told_route, saturating_sum(calls) AS calls, saturating_sum(errors) AS errors
    FROM told
    GROUP BY 1, 2, 3, 4
)
SELECT s.day, nullif(s.company_id, '') AS company_id, s.told_verb AS verb, s.told_route AS route, s.calls, s.errors,
       latency_ms(p.p90) AS p90_ms
FROM sums AS s
LEFT JOIN percentiles AS p
    ON p.day = s.day AND p.company_id = s.company_id AND p.told_verb = s.told_verb AND p.told_route = s.told_route
