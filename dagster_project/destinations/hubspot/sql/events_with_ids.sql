-- Events of records that HubSpot has not got wait until it has them.
WITH known AS (
    SELECT object, key, min(hubspot_id) AS hubspot_id FROM ops.hubspot_records
    WHERE portal_id IS NOT DISTINCT FROM $portal_id AND hubspot_id IS NOT NULL
    GROUP BY ALL HAVING count(DISTINCT hubspot_id) = 1
)
SELECT e.event, e.event_id, e.object, e.id, e.key, coalesce(k.hubspot_id, e.hubspot_id) AS hubspot_id, e.occurred_at,
       e.properties
FROM plan_events e LEFT JOIN known k ON k.object = e.object AND k.key = e.key
WHERE coalesce(k.hubspot_id, e.hubspot_id) IS NOT NULL
ORDER BY e.event, e.event_id
