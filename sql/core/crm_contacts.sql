-- The contacts of the HubSpot exports that stand in raw/crm/contacts/: of one Record ID the row of the newest file.
-- grain: record_id
-- columns:
--   record_id   VARCHAR  HubSpot's Record ID
--   match_key   VARCHAR  match key of its email, null for none
--   name        VARCHAR  its name
--   properties  VARCHAR  the whole row, JSON: header to text
SELECT record_id, match_key, name, properties
FROM raw.crm_contacts
WHERE file_seq IN (SELECT loaded_seq FROM raw.paths)
QUALIFY row_number() OVER (PARTITION BY record_id ORDER BY file_seq DESC, line DESC, element DESC) = 1
