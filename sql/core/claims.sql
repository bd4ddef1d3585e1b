-- Every claim that an update made: a company its token, a user its token, its company and its anonymous id. Claims
-- append; none is ever overwritten.
-- columns:
--   kind        VARCHAR    token_company, token_user, user_company or anonymous_user
--   key         VARCHAR    the token, user or anonymous_id that is claimed
--   target      VARCHAR    the company or user that it is claimed for
--   claimed_at  TIMESTAMP  when, UTC: modified_time, else received, else first seen
--   day         DATE       its GMT day, from which on it holds
--   file_seq    BIGINT     place of the update
--   line        BIGINT     place of the update
--   element     BIGINT     place of the update
WITH updates AS (
    SELECT 'companies' AS source, file_seq, line, element, company_id, CAST(NULL AS VARCHAR) AS user_id,
           session_token, CAST(NULL AS VARCHAR) AS anonymous_id, effective_at
    FROM raw.company_updates
    UNION ALL
    SELECT 'users' AS source, file_seq, line, element, company_id, user_id, session_token, anonymous_id, effective_at
    FROM raw.user_updates
    UNION ALL
    -- What is kept of erased users, under their pseudonyms: whose company the usage is.
    SELECT 'users' AS source, file_seq, line, element, company_id, user_id, session_token, anonymous_id, effective_at
    FROM raw.erased_claims
), accepted AS (
    SELECT u.*
    FROM updates AS u
    LEFT JOIN core.rejected_updates AS r ON r.file_seq = u.file_seq AND r.line = u.line AND r.element = u.element
    WHERE r.file_seq IS NULL
), claims AS (
    SELECT 'token_company' AS kind, session_token AS key, company_id AS target, effective_at, file_seq, line, element
    FROM accepted WHERE source = 'companies'
    UNION ALL
    SELECT 'token_user', session_token, user_id, effective_at, file_seq, line, element
    FROM accepted WHERE source = 'users'
    UNION ALL
    SELECT 'user_company', user_id, company_id, effective_at, file_seq, line, element
    FROM accepted WHERE source = 'users'
    UNION ALL
    SELECT 'anonymous_user', anonymous_id, user_id, effective_at, file_seq, line, element
    FROM accepted WHERE source = 'users'
)
SELECT kind, key, target, effective_at AS claimed_at, CAST(effective_at AS DATE) AS day, file_seq, line, element
FROM claims
WHERE key IS NOT NULL AND target IS NOT NULL
