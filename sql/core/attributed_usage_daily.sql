-- API calls by day and by whom they belong to: core.api_usage_daily with its attribution bound once, for all that follows.
-- grain: day, company_id, user_id, session_token
-- rebuild: day
-- days: core.api_usage_daily, core.claim_changed_days
-- columns:
--   day            DATE       GMT day of request.time
--   company_id     VARCHAR    the company that the calls belong to, '' for none
--   user_id        VARCHAR    the user that the calls belong to, '' for none
--   session_token  VARCHAR    the calls' token, '' for none
--   events         BIGINT     records
--   calls          BIGINT     records times their weight
--   errors_4xx     BIGINT     calls with status 400 to 499
--   errors_5xx     BIGINT     calls with status 500 to 599
--   blocked_calls  BIGINT     calls that a governance rule blocked
--   first_at       TIMESTAMP  first call, UTC
--   last_at        TIMESTAMP  last call, UTC
--   first_success_at  TIMESTAMP  first call with status 200 to 299, UTC
SELECT
    u.day,
    a.company_id,
    a.user_id,
    u.session_token,
    CAST(sum(u.events) AS BIGINT) AS events,
    saturating_sum(u.calls) AS calls,
    saturating_sum(u.errors_4xx) AS errors_4xx,
    saturating_sum(u.errors_5xx) AS errors_5xx,
    saturating_sum(u.blocked_calls) AS blocked_calls,
    min(u.first_at) AS first_at,
    max(u.last_at) AS last_at,
    min(u.first_success_at) AS first_success_at
FROM core.api_usage_daily AS u
JOIN core.attribution AS a
    ON a.day = u.day AND a.own_company_id = u.company_id AND a.own_user_id = u.user_id
    AND a.session_token = u.session_token AND a.anonymous_id = u.anonymous_id
GROUP BY 1, 2, 3, 4
