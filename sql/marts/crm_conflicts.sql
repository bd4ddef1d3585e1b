-- CRM records that share one match key. None of them is chosen to enrich a profile.
-- grain: object, match_key
-- columns:
--   object      VARCHAR    companies or contacts
--   match_key   VARCHAR    the domain or email that they share
--   record_ids  VARCHAR[]  their Record IDs, sorted
SELECT 'companies' AS object, match_key, list_sort(list(record_id)) AS record_ids
FROM core.crm_companies WHERE match_key IS NOT NULL GROUP BY 2 HAVING count(*) > 1
UNION ALL
SELECT 'contacts' AS object, match_key, list_sort(list(record_id)) AS record_ids
FROM core.crm_contacts WHERE match_key IS NOT NULL GROUP BY 2 HAVING count(*) > 1
