-- API calls by day and endpoint and by the ids that they carried themselves: of files that were loaded under
-- [usage] routes = "all".
-- grain: day, company_id, user_id, session_token, anonymous_id, verb, route
-- rebuild: merge
-- merge: sum(calls, errors), merged_latencies(latencies)
-- columns:
--   day            DATE      GMT day of request.time
--   company_id     VARCHAR   the event's own company_id, '' for none
--   user_id        VARCHAR   the event's own user_id, '' for none
--   session_token  VARCHAR   the event's token, '' for none
--   anonymous_id   VARCHAR   the event's anonymous_id, '' for none
--   verb           VARCHAR   HTTP method, '' if unknown
--   route          VARCHAR   path of the address, numbers and hashes in it as :id, '' if unknown
--   calls          BIGINT    records times their weight
--   errors         BIGINT    calls with status 400 to 599
--   latencies      BIGINT[]  how long calls took, a histogram: bucket + 256 times the calls in it, in no order; null: not known
SELECT
    CAST(event_at AS DATE) AS day,
    coalesce(company_id, '') AS company_id,
    coalesce(user_id, '') AS user_id,
    coalesce(session_token, '') AS session_token,
    coalesce(anonymous_id, '') AS anonymous_id,
    coalesce(verb, '') AS verb,
    folded_route(route) AS route,
    saturating_sum(weight) AS calls,
    saturating_sum(CASE WHEN status BETWEEN 400 AND 599 THEN weight ELSE 0 END) AS errors,
    list(latency_bucket(latency_us) + 256 * least(weight, 9007199254740992)) FILTER (WHERE latency_us IS NOT NULL) AS latencies
FROM raw.api_calls
WHERE load_seq > $since AND keeps_route
GROUP BY 1, 2, 3, 4, 5, 6, 7
