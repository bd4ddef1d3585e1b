-- What did the last push change in HubSpot, value by value?
SELECT c.object, c.id, c.key, c.property, c.old, c.new, c.state, c.changed_at
FROM ops.hubspot_changes AS c
WHERE c.push = (SELECT max(push) FROM ops.hubspot_changes)
ORDER BY c.object, c.id, c.property;
