-- What the last night noticed that is no error, and that somebody should look at; each with what may help.
-- grain: kind, subject
-- columns:
--   kind      VARCHAR    rewritten, delivered_again, trouble, source_unknown, all_rejected, no_company or no_user
--   subject   VARCHAR    what it concerns: a file, a folder, a source
--   message   VARCHAR    one sentence
--   help      VARCHAR    what may be the reason, or what to do
--   noted_at  TIMESTAMP  UTC; null: it follows from what is loaded
-- checks:
--   nothing_is_noticed (warn): SELECT message, help FROM ops.warnings
WITH calls AS (
    SELECT
        CAST(sum(events) AS BIGINT) AS events,
        CAST(coalesce(sum(events) FILTER (company_id IS NULL), 0) AS BIGINT) AS without
    FROM marts.company_usage_daily
), users_calls AS (
    SELECT
        CAST(sum(events) AS BIGINT) AS events,
        CAST(coalesce(sum(events) FILTER (user_id IS NULL), 0) AS BIGINT) AS without
    FROM marts.user_usage_daily
), alike AS (
    SELECT field, string_agg(text, '; ' ORDER BY text) AS text
    FROM (
        SELECT field, sum(records) || ' records have `' || key || '`: is `' || field || '` meant?' AS text
        FROM raw.lookalikes WHERE source IN ('events', 'actions') GROUP BY field, key
    ) GROUP BY field
), top_reasons AS (
    SELECT file_seq, arg_max(reason, records) AS reason
    FROM (SELECT file_seq, reason, count(*) AS records FROM ops.rejects GROUP BY ALL ORDER BY reason)
    GROUP BY file_seq
)
SELECT kind, subject, message, help, noted_at FROM raw.warnings
UNION ALL
SELECT
    'all_rejected' AS kind, f.path || ' (file ' || f.file_seq || ')' AS subject,
    'every one of ' || f.records || ' records of ' || f.path || ' was rejected' AS message,
    coalesce('most of them: ' || t.reason || '; ops.rejects has each', 'ops.rejects has each') AS help,
    NULL AS noted_at
FROM ops.files AS f LEFT JOIN top_reasons AS t ON t.file_seq = f.file_seq
WHERE f.records > 0 AND f.rejected = f.records
UNION ALL
SELECT
    'no_company' AS kind, 'calls' AS subject,
    c.without || ' of ' || c.events || ' calls belong to no company' AS message,
    coalesce((SELECT text FROM alike WHERE field = 'company_id'),
        'give calls a `company_id`, or send a company update that claims their `session_token`') AS help,
    NULL AS noted_at
FROM calls AS c WHERE c.without * 10 >= c.events AND c.without > 0
UNION ALL
SELECT
    'no_user' AS kind, 'calls' AS subject,
    c.without || ' of ' || c.events || ' calls belong to no user' AS message,
    (SELECT text FROM alike WHERE field = 'user_id') AS help,
    NULL AS noted_at
FROM users_calls AS c
WHERE c.without * 10 >= c.events AND c.without > 0 AND (SELECT text FROM alike WHERE field = 'user_id') IS NOT NULL
