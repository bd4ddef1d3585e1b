-- One row a company: who it is, how it uses the API and the product, what the CRM knows of it. Also those that are
-- only seen in events, or only named by an update.
-- grain: company_id
-- stamp: updated_at
-- erases:
--   company: company_id
-- columns:
--   * core.company_profiles
--   health_score        DOUBLE     how well it does, 0 to 1, by sql/health/company.sql; null: no score -- if: sql/health/company.sql
--   health              VARCHAR    good, fair or poor -- if: sql/health/company.sql
--   cohorts             VARCHAR[]  the cohorts it is in, sorted
--   alerts              VARCHAR[]  the alert rules that are open for it, sorted
--   updated_at          TIMESTAMP  when this row last changed in the warehouse, UTC
-- checks:
--   id_is_not_blank: SELECT company_id FROM marts.company_profiles WHERE company_id IS NULL OR trim(company_id) = ''
--   seen_after_created: SELECT company_id, created_at, first_seen_at FROM marts.company_profiles
--     WHERE created_at IS NULL OR first_seen_at < created_at
WITH cohorts AS (
    SELECT id, list_sort(list(cohort)) AS cohorts FROM marts.cohort_members WHERE entity = 'company' GROUP BY 1
), alerts AS (
    SELECT id, list_sort(list(rule)) AS alerts FROM marts.alerts WHERE entity = 'company' AND closed_at IS NULL GROUP BY 1
)
SELECT p.*,
       h.health_score, h.health, -- if: sql/health/company.sql
       coalesce(c.cohorts, CAST([] AS VARCHAR[])) AS cohorts,
       coalesce(a.alerts, CAST([] AS VARCHAR[])) AS alerts, CAST($now AS TIMESTAMP) AS updated_at
FROM core.company_profiles AS p
LEFT JOIN core.company_health AS h ON h.company_id = p.company_id
LEFT JOIN cohorts AS c ON c.id = p.company_id
LEFT JOIN alerts AS a ON a.id = p.company_id
