-- Who usage belongs to, by day and by the ids that it carried. An own id is never overridden; else the claims
-- that hold on that day decide. Usage of an erased user, who has a pseudonym, belongs to no user.
-- grain: day, own_company_id, own_user_id, session_token, anonymous_id
-- rebuild: day
-- days: core.api_usage_daily, core.action_usage_daily, core.claim_changed_days
-- columns:
--   day             DATE     GMT day
--   own_company_id  VARCHAR  the event's own company_id, '' for none
--   own_user_id     VARCHAR  the event's own user_id, '' for none
--   session_token   VARCHAR  the event's token, '' for none
--   company_id      VARCHAR  the company it belongs to, '' for none
--   user_id         VARCHAR  the user it belongs to, '' for none
--   attributed_via  VARCHAR  how the company was found: event, token, token_user, user, anonymous or none
--   anonymous_id    VARCHAR  the event's anonymous_id, '' for none
WITH identities AS (
    SELECT day, company_id, user_id, session_token, anonymous_id FROM core.api_usage_daily
    UNION
    SELECT day, company_id, user_id, session_token, anonymous_id FROM core.action_usage_daily
)
SELECT
    i.day,
    i.company_id AS own_company_id,
    i.user_id AS own_user_id,
    i.session_token,
    CASE WHEN i.company_id <> '' THEN i.company_id
         ELSE coalesce(token_company.target, token_user_company.target, user_company.target,
                       anonymous_user_company.target, '') END AS company_id,
    CASE WHEN coalesce(nullif(i.user_id, ''), token_user.target, anonymous_user.target) LIKE 'erased:%'
        AND length(coalesce(nullif(i.user_id, ''), token_user.target, anonymous_user.target)) = 71 THEN ''
         ELSE coalesce(nullif(i.user_id, ''), token_user.target, anonymous_user.target, '') END AS user_id,
    CASE WHEN i.company_id <> '' THEN 'event'
         WHEN token_company.target IS NOT NULL THEN 'token'
         WHEN token_user_company.target IS NOT NULL THEN 'token_user'
         WHEN user_company.target IS NOT NULL THEN 'user'
         WHEN anonymous_user_company.target IS NOT NULL THEN 'anonymous'
         ELSE 'none' END AS attributed_via,
    i.anonymous_id
FROM identities AS i
LEFT JOIN core.claim_spans AS token_company
    ON token_company.kind = 'token_company' AND token_company.key = i.session_token
    AND i.day BETWEEN token_company.from_day AND token_company.to_day
LEFT JOIN core.claim_spans AS token_user
    ON token_user.kind = 'token_user' AND token_user.key = i.session_token
    AND i.day BETWEEN token_user.from_day AND token_user.to_day
LEFT JOIN core.claim_spans AS token_user_company
    ON token_user_company.kind = 'user_company' AND token_user_company.key = token_user.target
    AND i.day BETWEEN token_user_company.from_day AND token_user_company.to_day
LEFT JOIN core.claim_spans AS user_company
    ON user_company.kind = 'user_company' AND user_company.key = i.user_id
    AND i.day BETWEEN user_company.from_day AND user_company.to_day
LEFT JOIN core.claim_spans AS anonymous_user
    ON anonymous_user.kind = 'anonymous_user' AND anonymous_user.key = i.anonymous_id
    AND i.day BETWEEN anonymous_user.from_day AND anonymous_user.to_day
LEFT JOIN core.claim_spans AS anonymous_user_company
    ON anonymous_user_company.kind = 'user_company' AND anonymous_user_company.key = anonymous_user.target
    AND i.day BETWEEN anonymous_user_company.from_day AND anonymous_user_company.to_day
