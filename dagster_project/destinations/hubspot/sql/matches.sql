-- The best source of each key, and how many records it names.
CREATE OR REPLACE TEMP TABLE plan_resolved AS
SELECT object, key, source, min(hubspot_id) AS hubspot_id, count(DISTINCT hubspot_id) AS records
FROM plan_matches m SEMI JOIN (SELECT object, key FROM plan_profiles WHERE rank = 1) USING (object, key)
GROUP BY object, key, source
QUALIFY row_number() OVER (PARTITION BY object, key ORDER BY source) = 1;

CREATE OR REPLACE TEMP TABLE plan_skips AS
WITH candidates AS (
    SELECT p.object, p.id, p.key, p.seen, r.hubspot_id, coalesce(r.records, 0) AS records
    FROM plan_profiles p LEFT JOIN plan_resolved r ON r.object = p.object AND r.key = p.key
    WHERE p.rank = 1 AND p.key IS NOT NULL AND p.problem IS NULL AND NOT p.is_free_mail
)
SELECT object, id, key,
       CASE WHEN key IS NULL THEN 'no_key' WHEN is_free_mail THEN 'free_mail_domain' ELSE 'duplicate_key' END AS reason
FROM plan_profiles WHERE key IS NULL OR rank > 1 OR is_free_mail
UNION ALL
SELECT object, id, key, 'ambiguous' FROM candidates WHERE records > 1
UNION ALL
SELECT object, id, key, 'same_record' FROM (
    SELECT *, row_number() OVER (PARTITION BY object, hubspot_id ORDER BY seen DESC NULLS LAST, id) AS rank
    FROM candidates WHERE records = 1
) WHERE rank > 1
UNION ALL
SELECT object, id, key, 'not_readable' FROM candidates WHERE records = 0 AND list_contains($unreadable, object)
UNION ALL
SELECT object, id, key, 'not_in_hubspot' FROM candidates
WHERE records = 0 AND NOT list_contains($unreadable, object) AND list_contains($update_only, object)
UNION ALL
SELECT object, id, key, 'in_hubspot_already' FROM candidates c
WHERE records = 1 AND list_contains($create_only, object);

CREATE OR REPLACE TEMP TABLE plan_sendable AS
SELECT p.object, p.id, p.key, p.seen, r.hubspot_id
FROM plan_profiles p LEFT JOIN plan_resolved r ON r.object = p.object AND r.key = p.key
WHERE p.rank = 1 AND p.key IS NOT NULL AND p.problem IS NULL
  AND NOT EXISTS (FROM plan_skips s WHERE s.object = p.object AND s.key = p.key
                  AND s.reason NOT IN ('no_key', 'duplicate_key'));

-- Values and records that HubSpot would refuse.
CREATE OR REPLACE TEMP TABLE plan_refused (
    object VARCHAR, id VARCHAR, key VARCHAR, hubspot_id VARCHAR, property VARCHAR, value VARCHAR, code VARCHAR,
    said VARCHAR);
INSERT INTO plan_refused
SELECT object, id, key, NULL, NULL, key, problem, said FROM plan_profiles WHERE rank = 1 AND problem IS NOT NULL;
