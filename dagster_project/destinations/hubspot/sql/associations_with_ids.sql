-- Records that HubSpot did not take have no id: they are associated when they have one.
WITH known AS (
    SELECT object, key, min(hubspot_id) AS hubspot_id FROM ops.hubspot_records
    WHERE portal_id IS NOT DISTINCT FROM $portal_id AND hubspot_id IS NOT NULL
    GROUP BY ALL HAVING count(DISTINCT hubspot_id) = 1
)
SELECT DISTINCT a.contact_key, coalesce(c.hubspot_id, a.contact_id) AS contact, a.company_key,
       coalesce(m.hubspot_id, a.company_id) AS company
FROM plan_associations a
LEFT JOIN known c ON c.object = 'contacts' AND c.key = a.contact_key
LEFT JOIN known m ON m.object = 'companies' AND m.key = a.company_key
WHERE contact IS NOT NULL AND company IS NOT NULL
ORDER BY ALL
