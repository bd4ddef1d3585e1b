-- What a comparison with the ledger fills, empty.

-- What an earlier refusal holds back. property null: the whole record.
CREATE OR REPLACE TEMP TABLE plan_held_back (
    object VARCHAR, id VARCHAR, key VARCHAR, property VARCHAR, value VARCHAR, code VARCHAR, message VARCHAR);

-- Fields that hold what others wrote: neither cleared, nor filled where only an empty one is. held: what HubSpot shows.
CREATE OR REPLACE TEMP TABLE plan_others_values (
    object VARCHAR, key VARCHAR, property VARCHAR, held VARCHAR, was_ours BOOLEAN);

-- A record that is to be written: properties, and what HubSpot was last told of them (before).
CREATE OR REPLACE TEMP TABLE plan_parts (
    object VARCHAR, action VARCHAR, id VARCHAR, key VARCHAR, hubspot_id VARCHAR, properties JSON, before JSON);
