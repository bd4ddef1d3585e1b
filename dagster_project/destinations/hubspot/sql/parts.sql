-- From plan_changes: one row a record. A record that is made is told its key.
INSERT INTO plan_changes (object, key, property, value, old)
SELECT object, key, CASE object {keys} END, key, NULL FROM plan_sendable WHERE hubspot_id IS NULL AND {condition};

INSERT INTO plan_parts
SELECT s.object, CASE WHEN s.hubspot_id IS NULL THEN 'create' ELSE 'update' END, s.id, s.key, s.hubspot_id,
       c.properties, c.before
FROM plan_sendable s JOIN (
    SELECT object, key,
           to_json(map(list(property ORDER BY property), list(value ORDER BY property))) AS properties,
           CASE WHEN count(old) = 0 THEN '{{}}' ELSE to_json(map(
               list(property ORDER BY property) FILTER (old IS NOT NULL),
               list(old ORDER BY property) FILTER (old IS NOT NULL))) END AS before
    FROM plan_changes GROUP BY object, key
) c ON c.object = s.object AND c.key = s.key;
