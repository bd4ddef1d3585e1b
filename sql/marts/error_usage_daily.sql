-- API calls that failed, by day, company, user, route and status: for cohorts over behaviour, such as
-- "five 429s in seven days" or "a 5xx on one route".
-- grain: day, company_id, user_id, verb, route, status
-- rebuild: day
-- days: core.error_usage_daily, core.claim_changed_days
-- columns:
--   day         DATE     GMT day of request.time
--   company_id  VARCHAR  the company that the calls belong to, null for none
--   user_id     VARCHAR  the user that the calls belong to, null for none
--   verb        VARCHAR  HTTP method, '' if unknown
--   route       VARCHAR  path of the address, numbers and hashes in it as :id
--   status      INTEGER  HTTP status, 400 to 599
--   calls       BIGINT   records times their weight
SELECT u.day, nullif(a.company_id, '') AS company_id, nullif(a.user_id, '') AS user_id, u.verb, u.route, u.status,
       saturating_sum(u.calls) AS calls
FROM core.error_usage_daily AS u
JOIN core.attribution AS a
    ON a.day = u.day AND a.own_company_id = u.company_id AND a.own_user_id = u.user_id
    AND a.session_token = u.session_token AND a.anonymous_id = u.anonymous_id
GROUP BY 1, 2, 3, 4, 5, 6
