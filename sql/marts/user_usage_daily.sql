-- API usage by day and user. Calls of no user are there too, with user_id null.
-- grain: day, user_id
-- rebuild: day
-- columns:
--   day              DATE       GMT day of request.time
--   user_id       VARCHAR    the user that the calls belong to, null for none
--   events           BIGINT     records
--   calls            BIGINT     records times their weight
--   errors_4xx       BIGINT     calls with status 400 to 499
--   errors_5xx       BIGINT     calls with status 500 to 599
--   blocked_calls    BIGINT     calls that a governance rule blocked
--   session_tokens   BIGINT     distinct tokens of its calls that day
--   first_at         TIMESTAMP  first call, UTC
--   last_at          TIMESTAMP  last call, UTC
--   first_success_at  TIMESTAMP  first call with status 200 to 299, UTC
-- chart: SELECT day, sum(calls - errors_4xx - errors_5xx) AS other, sum(errors_4xx) AS "4xx",
--     sum(errors_5xx) AS "5xx" FROM marts.user_usage_daily WHERE day > (SELECT max(day) FROM marts.user_usage_daily) - 60 GROUP BY day
SELECT
    u.day,
    nullif(a.user_id, '') AS user_id,
    CAST(sum(u.events) AS BIGINT) AS events,
    CAST(least(sum(u.calls), 9223372036854775807) AS BIGINT) AS calls,
    CAST(least(sum(u.errors_4xx), 9223372036854775807) AS BIGINT) AS errors_4xx,
    CAST(least(sum(u.errors_5xx), 9223372036854775807) AS BIGINT) AS errors_5xx,
    CAST(least(sum(u.blocked_calls), 9223372036854775807) AS BIGINT) AS blocked_calls,
    count(DISTINCT nullif(u.session_token, '')) AS session_tokens,
    min(u.first_at) AS first_at,
    max(u.last_at) AS last_at,
    min(u.first_success_at) AS first_success_at
FROM core.api_usage_daily AS u
JOIN core.attribution AS a
    ON a.day = u.day AND a.own_company_id = u.company_id AND a.own_user_id = u.user_id AND a.session_token = u.session_token
GROUP BY 1, 2
