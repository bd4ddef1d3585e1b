-- API calls by day and by the ids that they carried themselves. Who they belong to is decided later
-- (core.attribution), so that a late claim moves sums and not history.
-- grain: day, company_id, user_id, session_token, anonymous_id
-- rebuild: merge
-- merge: sum(events, calls, errors_4xx, errors_5xx, blocked_calls), min(first_at, first_success_at), max(last_at),
--   merged_latencies(latencies)
-- columns:
--   day            DATE       GMT day of request.time
--   company_id     VARCHAR    the event's own company_id, '' for none
--   user_id        VARCHAR    the event's own user_id, '' for none
--   session_token  VARCHAR    the event's token, '' for none
--   events         BIGINT     records
--   calls          BIGINT     records times their weight
--   errors_4xx     BIGINT     calls with status 400 to 499
--   errors_5xx     BIGINT     calls with status 500 to 599
--   blocked_calls  BIGINT     calls that a governance rule blocked
--   first_at       TIMESTAMP  first call, UTC
--   last_at        TIMESTAMP  last call, UTC
--   first_success_at  TIMESTAMP  first call with status 200 to 299, UTC
--   anonymous_id   VARCHAR    the event's anonymous_id, '' for none
--   latencies      BIGINT[]   how long calls took, a histogram: bucket + 256 times the calls in it, in no order; null: not known
SELECT
    CAST(event_at AS DATE) AS day,
    coalesce(company_id, '') AS company_id,
    coalesce(user_id, '') AS user_id,
    coalesce(session_token, '') AS session_token,
    count(*) AS events,
    saturating_sum(weight) AS calls,
    saturating_sum(CASE WHEN status BETWEEN 400 AND 499 THEN weight ELSE 0 END) AS errors_4xx,
    saturating_sum(CASE WHEN status BETWEEN 500 AND 599 THEN weight ELSE 0 END) AS errors_5xx,
    saturating_sum(CASE WHEN is_blocked THEN weight ELSE 0 END) AS blocked_calls,
    min(event_at) AS first_at,
    max(event_at) AS last_at,
    min(CASE WHEN status BETWEEN 200 AND 299 THEN event_at END) AS first_success_at,
    coalesce(anonymous_id, '') AS anonymous_id,
    -- A weight is 2^53 at most; what older releases loaded may be more.
    list(latency_bucket(latency_us) + 256 * least(weight, 9007199254740992)) FILTER (WHERE latency_us IS NOT NULL) AS latencies
FROM raw.api_calls
WHERE load_seq > $since
GROUP BY 1, 2, 3, 4, 13
