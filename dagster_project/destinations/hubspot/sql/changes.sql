-- From plan_wanted: what differs, what HubSpot would refuse, what it refused before. '' clears a value: it is sent only
-- where HubSpot has one from us.
CREATE OR REPLACE TEMP TABLE plan_differing AS
SELECT s.object, s.id, s.key, s.hubspot_id, w.property, w.value, l.value AS old, w.code, w.said, w.only_if_empty,
       p.definition
FROM plan_wanted w
JOIN plan_sendable s ON s.object = w.object AND s.key = w.key
LEFT JOIN plan_ledger l
    ON l.object = w.object AND l.key = w.key AND l.property = w.property AND l.hubspot_id = s.hubspot_id
LEFT JOIN plan_properties p ON p.object = w.object AND p.name = w.property
WHERE (w.code IS NOT NULL OR w.value <> coalesce(l.value, '')) AND NOT (w.only_if_empty AND l.value IS NOT NULL);

INSERT INTO plan_refused
SELECT object, id, key, hubspot_id, property, value, code, said FROM plan_differing WHERE code IS NOT NULL;

INSERT INTO plan_held_back
SELECT d.object, d.id, d.key, d.property, d.value, r.code, r.message
FROM plan_differing d JOIN plan_rejects r
    ON r.object = d.object AND r.key = d.key AND r.property = d.property AND r.value = d.value
   AND r.attempted = coalesce(d.definition, r.attempted)
WHERE d.code IS NULL;

CREATE OR REPLACE TEMP TABLE plan_changes AS
SELECT object, key, property, value, old, hubspot_id, only_if_empty
FROM plan_differing d
WHERE code IS NULL AND NOT EXISTS (
    FROM plan_rejects r
    WHERE r.object = d.object AND r.key = d.key AND r.property = d.property AND r.value = d.value
      AND r.attempted = coalesce(d.definition, r.attempted))
  AND NOT (only_if_empty AND EXISTS (
      FROM ops.hubspot_kept k
      WHERE k.portal_id IS NOT DISTINCT FROM $portal_id AND k.object = d.object AND k.key = d.key
        AND k.property = d.property
        AND NOT EXISTS (
            FROM plan_forgotten f
            WHERE f.object = k.object AND coalesce(f.key, k.key) = k.key
              AND coalesce(f.property, k.property) = k.property)));

DROP TABLE plan_differing;
