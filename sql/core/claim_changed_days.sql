-- The days on which usage may belong to somebody else since the last build, because of new claims.
-- grain: day
-- previous: core.applied_claim_spans, core.attribution
-- columns:
--   day  DATE  GMT day
WITH changed AS (
    (SELECT * FROM core.claim_spans EXCEPT SELECT * FROM core.applied_claim_spans)
    UNION
    (SELECT * FROM core.applied_claim_spans EXCEPT SELECT * FROM core.claim_spans)
), keys AS (
    SELECT 'token' AS kind, key FROM changed WHERE kind IN ('token_company', 'token_user')
    UNION
    SELECT 'user', key FROM changed WHERE kind = 'user_company'
    UNION
    SELECT 'anonymous', key FROM changed WHERE kind = 'anonymous_user'
    UNION
    -- A user that moves company takes its tokens and anonymous ids along.
    SELECT CASE s.kind WHEN 'token_user' THEN 'token' ELSE 'anonymous' END, s.key
    FROM core.claim_spans AS s
    JOIN changed AS c ON c.kind = 'user_company' AND c.key = s.target
    WHERE s.kind IN ('token_user', 'anonymous_user')
)
SELECT a.day
FROM core.attribution AS a JOIN keys AS k ON k.kind = 'token' AND k.key = a.session_token
UNION
SELECT a.day
FROM core.attribution AS a JOIN keys AS k ON k.kind = 'user' AND k.key = a.own_user_id
UNION
SELECT a.day
FROM core.attribution AS a JOIN keys AS k ON k.kind = 'anonymous' AND k.key = a.anonymous_id
