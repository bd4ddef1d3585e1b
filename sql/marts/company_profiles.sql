-- One row a company: who it is, how it uses the API and the product, what the CRM knows of it. Also those that are
-- only seen in events, or only named by an update.
-- grain: company_id
-- stamp: updated_at
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
--   errors_4xx          BIGINT     calls with status 400 to 499, all time
--   errors_5xx          BIGINT     calls with status 500 to 599, all time
--   blocked_calls       BIGINT     calls that a governance rule blocked, all time
--   session_tokens      BIGINT     distinct tokens of its API calls, all time
--   users               BIGINT     distinct users of its API calls, all time
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
--   id_is_not_blank: SELECT company_id FROM marts.company_profiles WHERE company_id IS NULL OR trim(company_id) = ''
--   seen_after_created: SELECT company_id, created_at, first_seen_at FROM marts.company_profiles
--     WHERE created_at IS NULL OR first_seen_at < created_at
-- chart: SELECT strftime(created_at, '%Y-%m') AS created, count(*) AS companies FROM marts.company_profiles
--     GROUP BY created ORDER BY created DESC LIMIT 12
WITH cohorts AS (
    SELECT id, list_sort(list(cohort)) AS cohorts FROM marts.cohort_members WHERE entity = 'company' GROUP BY 1
)
SELECT p.*, coalesce(c.cohorts, CAST([] AS VARCHAR[])) AS cohorts, CAST($now AS TIMESTAMP) AS updated_at
FROM core.company_profiles AS p
LEFT JOIN cohorts AS c ON c.id = p.company_id
