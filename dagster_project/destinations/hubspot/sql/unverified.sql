-- Remembered record ids that are to be written to, and that no read has shown with their key since then.
SELECT DISTINCT p.hubspot_id, p.key
FROM plan_planned p JOIN ops.hubspot_records r ON r.object = p.object AND r.key = p.key AND r.hubspot_id = p.hubspot_id
WHERE p.object = $object AND r.portal_id IS NOT DISTINCT FROM $portal_id
  AND (r.verified_at IS NULL OR r.verified_at < $since)
  AND NOT EXISTS (FROM plan_matches m WHERE m.object = p.object AND m.key = p.key AND m.source = 2)
ORDER BY ALL
