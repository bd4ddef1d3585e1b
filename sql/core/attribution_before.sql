-- Who the calls of the days that new claims touch belonged to until now: the "before" of ops.restatements.
-- grain: day, own_company_id, own_user_id, session_token, anonymous_id
-- previous: core.attribution, core.api_usage_daily
-- columns:
--   day             DATE     GMT day
--   own_company_id  VARCHAR  the events' own company_id, '' for none
--   own_user_id     VARCHAR  the events' own user_id, '' for none
--   session_token   VARCHAR  the events' token, '' for none
--   anonymous_id    VARCHAR  the events' anonymous_id, '' for none
--   company_id      VARCHAR  the company they belonged to, '' for none
--   calls           BIGINT   records times their weight, as of the last build
SELECT a.day, a.own_company_id, a.own_user_id, a.session_token, a.anonymous_id, a.company_id, u.calls
FROM core.attribution AS a
JOIN core.api_usage_daily AS u
    ON u.day = a.day AND u.company_id = a.own_company_id AND u.user_id = a.own_user_id
    AND u.session_token = a.session_token AND u.anonymous_id = a.anonymous_id
WHERE a.day IN (SELECT day FROM core.claim_changed_days)
