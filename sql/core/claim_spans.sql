-- For which days each claim decides: from its day to the day before the next one's. Days before the first claim
-- go to the first claimant; of several claims on one day the last one decides.
-- grain: kind, key, from_day
-- columns:
--   kind      VARCHAR  token_company, token_user, user_company or anonymous_user
--   key       VARCHAR  the token, user or anonymous_id that is claimed
--   target    VARCHAR  the company or user that it belongs to
--   from_day  DATE     first GMT day
--   to_day    DATE     last GMT day
WITH last_of_day AS (
    SELECT kind, key, target, day
    FROM core.claims
    QUALIFY row_number() OVER (PARTITION BY kind, key, day ORDER BY file_seq DESC, line DESC, element DESC) = 1
), first_ever AS (
    SELECT kind, key, target, day
    FROM core.claims
    QUALIFY row_number() OVER (PARTITION BY kind, key ORDER BY day, file_seq, line, element) = 1
)
SELECT kind, key, target, day AS from_day,
       coalesce(CAST(lead(day) OVER (PARTITION BY kind, key ORDER BY day) - INTERVAL '1' DAY AS DATE), DATE '9999-12-31') AS to_day
FROM last_of_day
UNION ALL
SELECT kind, key, target, DATE '0001-01-01' AS from_day, CAST(day - INTERVAL '1' DAY AS DATE) AS to_day
FROM first_ever
