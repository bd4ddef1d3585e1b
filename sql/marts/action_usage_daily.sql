-- Custom actions, by day, company, user and name.
-- grain: day, company_id, user_id, action_name
-- rebuild: day
-- days: core.action_usage_daily, core.claim_changed_days
-- columns:
--   day          DATE       GMT day of the action
--   company_id   VARCHAR    the company that the actions belong to, null for none
--   user_id      VARCHAR    the user that the actions belong to, null for none
--   action_name  VARCHAR    what was done, '' if not given
--   actions      BIGINT     records
--   first_at     TIMESTAMP  first action, UTC
--   last_at      TIMESTAMP  last action, UTC
SELECT u.day, nullif(a.company_id, '') AS company_id, nullif(a.user_id, '') AS user_id, u.action_name,
       CAST(sum(u.actions) AS BIGINT) AS actions, min(u.first_at) AS first_at, max(u.last_at) AS last_at
FROM core.action_usage_daily AS u
JOIN core.attribution AS a
    ON a.day = u.day AND a.own_company_id = u.company_id AND a.own_user_id = u.user_id
    AND a.session_token = u.session_token AND a.anonymous_id = u.anonymous_id
GROUP BY 1, 2, 3, 4
