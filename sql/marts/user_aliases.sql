-- Which tokens belong to which user: claimed by an update, or seen in API calls that belong to it.
-- grain: session_token, user_id
-- columns:
--   session_token  VARCHAR    the token as the SDK sent it
--   user_id     VARCHAR    the user
--   claimed_at     TIMESTAMP  when it was first claimed, UTC; null: never, only used
--   claims         BIGINT     how often
--   first_seen_at  TIMESTAMP  first API call with the token that belongs to the user, UTC
--   last_seen_at   TIMESTAMP  last such call, UTC
--   events         BIGINT     such records
--   calls          BIGINT     such records times their weight
WITH claimed AS (
    SELECT key AS session_token, target AS user_id, min(claimed_at) AS claimed_at, count(*) AS claims
    FROM core.claims
    WHERE kind = 'token_user' AND NOT (target LIKE 'erased:%' AND length(target) = 71)
    GROUP BY 1, 2
), used AS (
    SELECT u.session_token, u.user_id, min(u.first_at) AS first_seen_at, max(u.last_at) AS last_seen_at,
           CAST(sum(u.events) AS BIGINT) AS events, saturating_sum(u.calls) AS calls
    FROM core.attributed_usage_daily AS u
    WHERE u.session_token <> '' AND u.user_id <> ''
    GROUP BY 1, 2
)
SELECT
    coalesce(c.session_token, u.session_token) AS session_token,
    coalesce(c.user_id, u.user_id) AS user_id,
    c.claimed_at,
    coalesce(c.claims, 0) AS claims,
    u.first_seen_at,
    u.last_seen_at,
    coalesce(u.events, 0) AS events,
    coalesce(u.calls, 0) AS calls
FROM claimed AS c
FULL JOIN used AS u ON u.session_token = c.session_token AND u.user_id = c.user_id
