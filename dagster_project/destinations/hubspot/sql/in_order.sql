-- What HubSpot refused whole, and would refuse again: the same properties, or a record whose key it does not take.
INSERT INTO plan_held_back
SELECT p.object, p.id, p.key, NULL, NULL, r.code, r.message
FROM plan_parts p JOIN plan_rejects r ON r.object = p.object AND r.key = p.key AND r.property IS NULL
WHERE (r.attempted = md5(CAST(p.properties AS VARCHAR)) OR (r.attempted = 'key' AND p.action = 'create')
       OR (p.object, p.key) IN (SELECT (object, key) FROM plan_refused_before))
  AND NOT ($recreate AND r.code = 'OBJECT_NOT_FOUND');

-- The rest, numbered. (Sorted first and numbered then: a window that sorts has to hold all rows at once.)
CREATE OR REPLACE TEMP TABLE plan_planned AS
SELECT row_number() OVER () AS record, *
FROM (
    SELECT * FROM plan_parts
    WHERE NOT EXISTS (
        FROM plan_held_back h WHERE h.property IS NULL AND h.object = plan_parts.object AND h.key = plan_parts.key)
    ORDER BY object, action, key
);

DROP TABLE plan_changes;
DROP TABLE plan_parts;
DROP TABLE IF EXISTS plan_wanted;
