-- What HubSpot acknowledged to this account, and refused, without what is to be forgotten.
CREATE OR REPLACE TEMP VIEW plan_ledger AS
FROM ops.hubspot_ledger l
WHERE l.portal_id IS NOT DISTINCT FROM {portal_id}
  AND NOT EXISTS (
      FROM plan_forgotten f
      WHERE f.object = l.object AND coalesce(f.key, l.key) = l.key AND coalesce(f.property, l.property) = l.property);

CREATE OR REPLACE TEMP VIEW plan_rejects AS
FROM ops.hubspot_rejects r
WHERE r.portal_id IS NOT DISTINCT FROM {portal_id} AND r.attempted IS NOT NULL
  AND NOT EXISTS (
      FROM plan_forgotten f
      WHERE f.with_rejects AND f.object = r.object AND coalesce(f.key, r.key) = r.key
        AND (f.property IS NULL OR f.property = r.property));
