-- What the last night noticed that is no error, and that somebody should look at; each with what may help.
-- grain: kind, subject
-- columns:
--   kind      VARCHAR    rewritten, delivered_again, gone, trouble, source_unknown, all_rejected, no_company, no_user, other_key or doubtful_ids
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
    SELECT
        source IN ('events', 'actions') AS is_of_events, field,
        CASE sum(records) WHEN 1 THEN '1 record has `' ELSE sum(records) || ' records have `' END
            || key || '`: is `' || field || '` meant?' AS text
    FROM raw.lookalikes GROUP BY source IN ('events', 'actions'), field, key
), keys AS (
    SELECT
        string_agg(text, '; ' ORDER BY text) FILTER (field <> 'user_id') AS of_companies,
        string_agg(text, '; ' ORDER BY text) FILTER (field <> 'company_id') AS of_users
    FROM alike WHERE is_of_events
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
    coalesce(k.of_companies,
        'give calls a `company_id`, or send a company update that claims their `session_token`') AS help,
    NULL AS noted_at
FROM calls AS c CROSS JOIN keys AS k
WHERE c.without > 0 AND (c.without * 10 >= c.events OR k.of_companies IS NOT NULL)
UNION ALL
SELECT
    'no_user' AS kind, 'calls' AS subject,
    c.without || ' of ' || c.events || ' calls belong to no user' AS message,
    k.of_users AS help,
    NULL AS noted_at
FROM users_calls AS c CROSS JOIN keys AS k
WHERE c.without > 0 AND k.of_users IS NOT NULL
UNION ALL
SELECT
    'other_key' AS kind, l.source || '/: ' || l.key AS subject,
    CASE sum(l.records) WHEN 1 THEN '1 record of ' ELSE sum(l.records) || ' records of ' END
        || l.source || '/ without `' || l.field || '`' || CASE sum(l.records) WHEN 1 THEN ' has `' ELSE ' have `' END
        || l.key || '`' AS message,
    'is `' || l.field || '` meant?' AS help,
    NULL AS noted_at
FROM raw.lookalikes AS l
WHERE l.source NOT IN ('events', 'actions')
    -- A user is no part of what these say.
    AND NOT (l.source IN ('companies', 'subscriptions') AND l.field IN ('user_id', 'anonymous_id'))
GROUP BY l.source, l.field, l.key
UNION ALL
SELECT
    'doubtful_ids' AS kind, CASE WHEN d.kind LIKE 'company%' THEN 'company_id' ELSE 'user_id' END AS subject,
    string_agg(
        d.ids || ' of ' || d.total || CASE d.kind
            WHEN 'company_emails' THEN ' company ids look like email addresses'
            WHEN 'company_users' THEN ' company ids are ids of users of other companies'
            WHEN 'company_prefix' THEN ' company ids begin with `' || d.prefix || '_`, as user ids do'
            WHEN 'user_companies' THEN ' user ids are ids of companies'
            ELSE ' user ids begin with `' || d.prefix || '_`, as company ids do' END,
        '; ' ORDER BY d.kind, d.prefix) AS message,
    CASE WHEN d.kind LIKE 'company%'
        THEN 'does a client fill `company_id` with the id of a user? marts.company_profiles has them'
        ELSE 'does a client fill `user_id` with the id of a company? marts.user_profiles has them' END AS help,
    NULL AS noted_at
FROM core.doubtful_ids AS d
GROUP BY ALL
