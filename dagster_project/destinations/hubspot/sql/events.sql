-- Events that HubSpot does not have yet, with the record that they are of (null: there is none yet).
CREATE OR REPLACE TEMP TABLE plan_events AS
SELECT e.event, e.event_id, e.object, e.id, p.key, r.hubspot_id, e.occurred_at, e.properties
FROM plan_selected_events e
JOIN plan_profiles p ON p.object = e.object AND p.id = e.id AND p.key IS NOT NULL
LEFT JOIN plan_resolved r ON r.object = p.object AND r.key = p.key AND r.records = 1
WHERE list_contains($names, e.event) AND NOT EXISTS (
    FROM ops.hubspot_events h
    WHERE h.portal_id IS NOT DISTINCT FROM $portal_id AND h.event = e.event AND h.event_id = e.event_id
      AND (h.state = 'acknowledged' OR (h.state = 'rejected' AND h.properties = e.properties)))
QUALIFY row_number() OVER (PARTITION BY e.event, e.event_id ORDER BY e.occurred_at, e.id, p.key) = 1;
