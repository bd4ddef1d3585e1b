-- One row a user: who it is, how it uses the API and the product, what the CRM knows of it. Also those that are
-- only seen in events, or only named by an update.
-- grain: user_id
-- stamp: updated_at
-- erases:
--   user: user_id
--   company: company_id
-- columns:
--   * core.user_profiles
--   cohorts             VARCHAR[]  the cohorts it is in, sorted
--   alerts              VARCHAR[]  the alert rules that are open for it, sorted
--   updated_at          TIMESTAMP  when this row last changed in the warehouse, UTC
-- checks:
--   id_is_not_blank: SELECT user_id FROM marts.user_profiles WHERE user_id IS NULL OR trim(user_id) = ''
--   seen_after_created: SELECT user_id, created_at, first_seen_at FROM marts.user_profiles
--     WHERE created_at IS NULL OR first_seen_at < created_at
WITH cohorts AS (
    SELECT id, list_sort(list(cohort)) AS cohorts FROM marts.cohort_members WHERE entity = 'user' GROUP BY 1
), alerts AS (
    SELECT id, list_sort(list(rule)) AS alerts FROM marts.alerts WHERE entity = 'user' AND closed_at IS NULL GROUP BY 1
)
SELECT p.*, coalesce(c.cohorts, CAST([] AS VARCHAR[])) AS cohorts,
       coalesce(a.alerts, CAST([] AS VARCHAR[])) AS alerts, CAST($now AS TIMESTAMP) AS updated_at
FROM core.user_profiles AS p
LEFT JOIN cohorts AS c ON c.id = p.user_id
LEFT JOIN alerts AS a ON a.id = p.user_id
