-- One row a user: who it is, how it uses the API and the product, what the CRM knows of it. Also those that are
-- only seen in events, or only named by an update.
-- grain: user_id
-- stamp: updated_at
-- columns:
--   user_id             VARCHAR    as the SDKs sent it
--   email               VARCHAR    match key of its email
--   name                VARCHAR    from metadata
--   first_name          VARCHAR    from metadata
--   last_name           VARCHAR    from metadata
--   phone               VARCHAR    from metadata
--   photo_url           VARCHAR    from metadata
--   company_id          VARCHAR    the company that it last claimed
--   company_domain      VARCHAR    that company's domain, match key
--   company_name        VARCHAR    that company's name
--   created_at          TIMESTAMP  the earliest time at which the id appears anywhere, UTC
--   first_seen_at       TIMESTAMP  first API call, action or feature event, UTC
--   last_seen_at        TIMESTAMP  last API call, action or feature event, UTC
--   events              BIGINT     API call records, all time
--   calls               BIGINT     API calls (records times weight), all time
--   calls_24h           BIGINT     calls on the as-of day
--   calls_7d            BIGINT     calls in the last 7 days
--   calls_30d           BIGINT     calls in the last 30 days
--   errors_4xx          BIGINT     calls with status 400 to 499, all time
--   errors_5xx          BIGINT     calls with status 500 to 599, all time
--   blocked_calls       BIGINT     calls that a governance rule blocked, all time
--   session_tokens      BIGINT     distinct tokens of its API calls, all time
--   active_days_30d     BIGINT     days of the last 30 with an API call, action or feature event
--   actions_30d         BIGINT     custom actions, last 30 days
--   feature_total_30d   BIGINT     sum of feature totals, last 30 days
--   features_used_30d   BIGINT     distinct features, last 30 days
--   first_call_seconds  DOUBLE     seconds from created_at to the first call with status 200 to 299
--   metadata            JSON       all updates merged; null: never given
--   campaign            JSON       all updates' campaigns merged; null: never given
--   crm                 JSON       the CRM record with the same match key
--   hubspot_id          VARCHAR    that record's Record ID
--   cohorts             VARCHAR[]  the cohorts it is in, sorted
--   updated_at          TIMESTAMP  when this row last changed in the warehouse, UTC
-- checks:
--   id_is_not_blank: SELECT user_id FROM marts.user_profiles WHERE user_id IS NULL OR trim(user_id) = ''
--   seen_after_created: SELECT user_id, created_at, first_seen_at FROM marts.user_profiles
--     WHERE created_at IS NULL OR first_seen_at < created_at
-- chart: SELECT strftime(created_at, '%Y-%m') AS created, count(*) AS users FROM marts.user_profiles
--     GROUP BY created ORDER BY created DESC LIMIT 12
WITH cohorts AS (
    SELECT id, list_sort(list(cohort)) AS cohorts FROM marts.cohort_members WHERE entity = 'user' GROUP BY 1
)
SELECT p.*, coalesce(c.cohorts, CAST([] AS VARCHAR[])) AS cohorts, CAST($now AS TIMESTAMP) AS updated_at
FROM core.user_profiles AS p
LEFT JOIN cohorts AS c ON c.id = p.user_id
