-- Company profiles without their cohorts: what cohorts are computed from, and marts.company_profiles after that.
-- grain: company_id
-- columns:
--   company_id          VARCHAR    as the SDKs sent it
--   company_domain      VARCHAR    match key of its domain
--   company_name        VARCHAR    from metadata name or company_name, else from the CRM
--   created_at          TIMESTAMP  the earliest time at which the id appears anywhere, UTC
--   first_seen_at       TIMESTAMP  first API call, action or feature event, UTC
--   last_seen_at        TIMESTAMP  last API call, action or feature event, UTC
--   events              BIGINT     API call records, all time
--   calls               BIGINT     API calls (records times weight), all time
--   calls_24h           BIGINT     calls on the as-of day
--   calls_7d            BIGINT     calls in the last 7 days
--   calls_30d           BIGINT     calls in the last 30 days
--   calls_prev_7d       BIGINT     calls in the 7 days before those of calls_7d
--   calls_prev_30d      BIGINT     calls in the 30 days before those of calls_30d
--   calls_trend_30d     DOUBLE     calls_30d against calls_prev_30d, relative (0.5: half as many again); null: there were none
--   errors_4xx          BIGINT     calls with status 400 to 499, all time
--   errors_5xx          BIGINT     calls with status 500 to 599, all time
--   blocked_calls       BIGINT     calls that a governance rule blocked, all time
--   session_tokens      BIGINT     distinct tokens of its API calls, all time
--   users               BIGINT     distinct users of its API calls, all time
--   active_days_30d     BIGINT     days of the last 30 with an API call, action or feature event
--   first_active_day    DATE       first day with an API call, action or feature event
--   last_active_day     DATE       last day with an API call, action or feature event
--   days_since_last_seen  BIGINT   days from the last active day to the as-of day; later days do not count; null: none yet
--   actions_30d         BIGINT     custom actions, last 30 days
--   feature_total_30d   BIGINT     sum of feature totals, last 30 days
--   features_used_30d   BIGINT     distinct features, last 30 days
--   first_call_seconds  DOUBLE     seconds from created_at to the first call with status 200 to 299
--   latency_p90_ms_7d   DOUBLE     nine of ten calls of the last 7 days took no longer, milliseconds; null: of none it is known
--   metadata            JSON       all updates merged; null: never given
--   campaign            JSON       all updates' campaigns merged; null: never given
--   crm                 JSON       the CRM record with the same match key
--   hubspot_id          VARCHAR    that record's Record ID
WITH named AS (
    SELECT company_id, first_effective_at AS named_at FROM core.company_metadata
    UNION ALL
    SELECT company_id, min(first_at) AS named_at FROM core.company_activity_daily GROUP BY 1
    UNION ALL
    -- A company that a user's update names has a profile, too.
    SELECT target AS company_id, min(claimed_at) AS named_at FROM core.claims WHERE kind = 'user_company' GROUP BY 1
    UNION ALL
    -- And one that a subscription names.
    SELECT s.company_id, min(s.effective_at) AS named_at
    FROM raw.subscription_updates AS s
    LEFT JOIN core.rejected_updates AS r ON r.file_seq = s.file_seq AND r.line = s.line AND r.element = s.element
    WHERE s.company_id IS NOT NULL AND r.file_seq IS NULL
    GROUP BY 1
), ids AS (
    SELECT company_id, min(named_at) AS created_at FROM named GROUP BY 1
), windows AS (
    SELECT as_of, CAST(as_of - INTERVAL '6' DAY AS DATE) AS day_7, CAST(as_of - INTERVAL '13' DAY AS DATE) AS day_14,
           CAST(as_of - INTERVAL '29' DAY AS DATE) AS day_30, CAST(as_of - INTERVAL '59' DAY AS DATE) AS day_60
    FROM marts.as_of
), usage AS (
    SELECT
        d.company_id,
        CAST(sum(d.events) AS BIGINT) AS events,
        saturating_sum(d.calls) AS calls,
        saturating_sum(CASE WHEN d.day = w.as_of THEN d.calls ELSE 0 END) AS calls_24h,
        saturating_sum(CASE WHEN d.day BETWEEN w.day_7 AND w.as_of THEN d.calls ELSE 0 END) AS calls_7d,
        saturating_sum(CASE WHEN d.day BETWEEN w.day_30 AND w.as_of THEN d.calls ELSE 0 END) AS calls_30d,
        saturating_sum(CASE WHEN d.day >= w.day_14 AND d.day < w.day_7 THEN d.calls ELSE 0 END) AS calls_prev_7d,
        saturating_sum(CASE WHEN d.day >= w.day_60 AND d.day < w.day_30 THEN d.calls ELSE 0 END) AS calls_prev_30d,
        saturating_sum(d.errors_4xx) AS errors_4xx,
        saturating_sum(d.errors_5xx) AS errors_5xx,
        saturating_sum(d.blocked_calls) AS blocked_calls,
        min(d.first_success_at) AS first_success_at
    FROM marts.company_usage_daily AS d CROSS JOIN windows AS w
    WHERE d.company_id IS NOT NULL
    GROUP BY 1
), activity AS (
    SELECT a.company_id, min(a.first_at) AS first_seen_at, max(a.last_at) AS last_seen_at,
           count(CASE WHEN a.day BETWEEN w.day_30 AND w.as_of THEN 1 END) AS active_days_30d,
           min(a.day) AS first_active_day, max(a.day) AS last_active_day,
           min(CASE WHEN a.day <= w.as_of THEN date_diff('day', a.day, w.as_of) END) AS days_since_last_seen
    FROM core.company_activity_daily AS a CROSS JOIN windows AS w
    GROUP BY 1
), actions AS (
    SELECT c.company_id, CAST(sum(c.actions) AS BIGINT) AS actions_30d
    FROM marts.action_usage_daily AS c CROSS JOIN windows AS w
    WHERE c.day BETWEEN w.day_30 AND w.as_of
    GROUP BY 1
), features AS (
    SELECT f.account_id AS company_id, saturating_sum(f.total) AS feature_total_30d,
           count(DISTINCT f.feature_id) AS features_used_30d
    FROM marts.daily_feature_totals AS f CROSS JOIN windows AS w
    WHERE f.day BETWEEN w.day_30 AND w.as_of
    GROUP BY 1
), tokens AS (
    SELECT company_id, count(*) AS session_tokens FROM marts.company_aliases WHERE events > 0 GROUP BY 1
), crm AS (
    -- Of several records with one key none is chosen.
    SELECT match_key, min(record_id) AS record_id, min(name) AS name, min(properties) AS properties
    FROM core.crm_companies
    WHERE match_key IS NOT NULL
    GROUP BY 1
    HAVING count(*) = 1
), pairs AS (
    SELECT DISTINCT company_id, user_id
    FROM core.attributed_usage_daily
    WHERE company_id <> '' AND user_id <> ''
), users AS (
    SELECT company_id, count(*) AS users FROM pairs GROUP BY 1
)
SELECT
    i.company_id,
    m.company_domain,
    coalesce(m.company_name, c.name) AS company_name,
    i.created_at,
    a.first_seen_at,
    a.last_seen_at,
    coalesce(u.events, 0) AS events,
    coalesce(u.calls, 0) AS calls,
    coalesce(u.calls_24h, 0) AS calls_24h,
    coalesce(u.calls_7d, 0) AS calls_7d,
    coalesce(u.calls_30d, 0) AS calls_30d,
    coalesce(u.calls_prev_7d, 0) AS calls_prev_7d,
    coalesce(u.calls_prev_30d, 0) AS calls_prev_30d,
    CAST(u.calls_30d AS DOUBLE) / nullif(u.calls_prev_30d, 0) - 1 AS calls_trend_30d,
    coalesce(u.errors_4xx, 0) AS errors_4xx,
    coalesce(u.errors_5xx, 0) AS errors_5xx,
    coalesce(u.blocked_calls, 0) AS blocked_calls,
    coalesce(t.session_tokens, 0) AS session_tokens,
    coalesce(us.users, 0) AS users,
    coalesce(a.active_days_30d, 0) AS active_days_30d,
    a.first_active_day,
    a.last_active_day,
    a.days_since_last_seen,
    coalesce(n.actions_30d, 0) AS actions_30d,
    coalesce(f.feature_total_30d, 0) AS feature_total_30d,
    coalesce(f.features_used_30d, 0) AS features_used_30d,
    date_diff('microsecond', i.created_at, u.first_success_at) / 1000000 AS first_call_seconds,
    l.latency_p90_ms_7d,
    m.metadata,
    m.campaign,
    c.properties AS crm,
    c.record_id AS hubspot_id
FROM ids AS i
LEFT JOIN core.company_metadata AS m ON m.company_id = i.company_id
LEFT JOIN usage AS u ON u.company_id = i.company_id
LEFT JOIN activity AS a ON a.company_id = i.company_id
LEFT JOIN actions AS n ON n.company_id = i.company_id
LEFT JOIN features AS f ON f.company_id = i.company_id
LEFT JOIN tokens AS t ON t.company_id = i.company_id
LEFT JOIN users AS us ON us.company_id = i.company_id
LEFT JOIN core.company_latency AS l ON l.company_id = i.company_id
LEFT JOIN crm AS c ON c.match_key = m.company_domain
