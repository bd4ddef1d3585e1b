-- Custom actions by day, name and the ids that they carried themselves.
-- grain: day, company_id, user_id, session_token, anonymous_id, action_name
-- rebuild: merge
-- merge: sum(actions), min(first_at), max(last_at)
-- columns:
--   day            DATE       GMT day
--   company_id     VARCHAR    the event's own company_id, '' for none
--   user_id        VARCHAR    the event's own user_id, '' for none
--   session_token  VARCHAR    the event's token, '' for none
--   anonymous_id   VARCHAR    the event's anonymous_id, '' for none
--   action_name    VARCHAR    what was done, '' if not given
--   actions        BIGINT     records
--   first_at       TIMESTAMP  first action, UTC
--   last_at        TIMESTAMP  last action, UTC
SELECT
    CAST(event_at AS DATE) AS day,
    coalesce(company_id, '') AS company_id,
    coalesce(user_id, '') AS user_id,
    coalesce(session_token, '') AS session_token,
    coalesce(anonymous_id, '') AS anonymous_id,
    coalesce(action_name, '') AS action_name,
    count(*) AS actions,
    min(event_at) AS first_at,
    max(event_at) AS last_at
FROM raw.actions
WHERE load_seq > $since
GROUP BY 1, 2, 3, 4, 5, 6
