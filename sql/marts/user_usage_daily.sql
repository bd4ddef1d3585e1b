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
SELECT
    u.day,
    nullif(u.user_id, '') AS user_id,
    CAST(sum(u.events) AS BIGINT) AS events,
    saturating_sum(u.calls) AS calls,
    saturating_sum(u.errors_4xx) AS errors_4xx,
    saturating_sum(u.errors_5xx) AS errors_5xx,
    saturating_sum(u.blocked_calls) AS blocked_calls,
    count(DISTINCT nullif(u.session_token, '')) AS session_tokens,
    min(u.first_at) AS first_at,
    max(u.last_at) AS last_at,
    min(u.first_success_at) AS first_success_at
FROM core.attributed_usage_daily AS u
GROUP BY 1, 2
