-- API calls that failed, by day, route and status and by the ids that they carried themselves: what cohorts over
-- behaviour need, at a fraction of the events' size.
-- grain: day, company_id, user_id, session_token, anonymous_id, verb, route, status
-- rebuild: merge
-- merge: sum(calls)
-- columns:
--   day            DATE     GMT day of request.time
--   company_id     VARCHAR    the event's own company_id, '' for none
--   user_id        VARCHAR    the event's own user_id, '' for none
--   session_token  VARCHAR    the event's token, '' for none
--   anonymous_id   VARCHAR    the event's anonymous_id, '' for none
--   verb           VARCHAR  HTTP method, '' if unknown
--   route          VARCHAR  path of the address, numbers and hashes in it as :id, '' if unknown
--   status         INTEGER  HTTP status, 400 to 599
--   calls          BIGINT   records times their weight
SELECT
    CAST(event_at AS DATE) AS day,
    coalesce(company_id, '') AS company_id,
    coalesce(user_id, '') AS user_id,
    coalesce(session_token, '') AS session_token,
    coalesce(anonymous_id, '') AS anonymous_id,
    coalesce(verb, '') AS verb,
    folded_route(route) AS route,
    status,
    saturating_sum(weight) AS calls
FROM raw.api_calls
WHERE load_seq > $since AND status BETWEEN 400 AND 599
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
