-- How many profiles does the CRM know, and why not the others?
WITH profiles AS (
    SELECT 'companies' AS object, company_domain AS match_key, hubspot_id FROM marts.company_profiles
    UNION ALL
    SELECT 'contacts' AS object, email AS match_key, hubspot_id FROM marts.user_profiles
)
SELECT p.object, count(*) AS profiles, count(p.hubspot_id) AS matched,
       round(100.0 * count(p.hubspot_id) / count(*)) AS percent_matched,
       count(*) FILTER (WHERE p.match_key IS NULL) AS without_key,
       count(*) FILTER (WHERE c.match_key IS NOT NULL) AS ambiguous,
       count(*) FILTER (WHERE p.match_key IS NOT NULL AND p.hubspot_id IS NULL AND c.match_key IS NULL) AS unknown_to_crm
FROM profiles AS p
LEFT JOIN marts.crm_conflicts AS c ON c.object = p.object AND c.match_key = p.match_key
GROUP BY ALL
ORDER BY p.object;
