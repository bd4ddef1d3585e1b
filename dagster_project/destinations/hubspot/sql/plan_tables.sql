-- The plan's own tables, all temporary, on the warehouse's connection. Made empty at the start of each plan; besides
-- them there are, made when they are filled:
--   plan_selected_<object>  what the SELECT returns
--   plan_chosen_<object>    its rows that do not stand back, with their key as _key
--   plan_wanted             the values of some of the profiles as text: see wanted.sql
--   plan_resolved           key to record id, from the best source: see matches.sql
--   plan_skips              who is not sent, and why: see matches.sql
--   plan_sendable           the profiles that are not skipped, with the record id (null: there is none yet)
--   plan_planned            one row a record that is to be written: see in_order.sql

-- A row of a SELECT: its key, and whether it stands back. rank 1: of the rows with its key, the one that was seen last.
-- problem: a code, where HubSpot would refuse the whole row; said: in whose words.
CREATE OR REPLACE TEMP TABLE plan_profiles (
    object VARCHAR, row BIGINT, id VARCHAR, key VARCHAR, seen TIMESTAMP, rank BIGINT, problem VARCHAR, said VARCHAR,
    is_free_mail BOOLEAN);

-- What HubSpot's properties are: columns as in ops.hubspot_properties. labels: label (lower case) to the option's value,
-- where no other option has that label.
CREATE OR REPLACE TEMP TABLE plan_properties (
    object VARCHAR, name VARCHAR, label VARCHAR, type VARCHAR, field_type VARCHAR, group_name VARCHAR,
    options VARCHAR[], labels MAP(VARCHAR, VARCHAR), external_options BOOLEAN, has_unique_value BOOLEAN,
    is_writable BOOLEAN, definition VARCHAR, created_at TIMESTAMP, portal_id BIGINT, loaded_at TIMESTAMP);

-- What the CRM exports say of record ids.
CREATE OR REPLACE TEMP TABLE plan_exported (object VARCHAR, key VARCHAR, record_id VARCHAR);

CREATE OR REPLACE TEMP TABLE plan_cohort_members (object VARCHAR, cohort VARCHAR, id VARCHAR);

-- Where contacts are associated with companies: the company of each user.
CREATE OR REPLACE TEMP TABLE plan_user_companies (user_id VARCHAR, company_id VARCHAR);

-- Who may be who. source: 1 remembered from an earlier push, 2 HubSpot said so just now, 3 an export, not looked at yet.
CREATE OR REPLACE TEMP TABLE plan_matches (object VARCHAR, key VARCHAR, hubspot_id VARCHAR, source INTEGER);

-- Remembered record ids under which HubSpot showed their key just now.
CREATE OR REPLACE TEMP TABLE plan_verified (object VARCHAR, key VARCHAR, hubspot_id VARCHAR);

-- Keys that need no asking: HubSpot refused to make exactly this record.
CREATE OR REPLACE TEMP TABLE plan_refused_before (object VARCHAR, key VARCHAR);

-- What is to be sent as if HubSpot had never acknowledged it. key or property null: all. with_rejects: also what it refused.
CREATE OR REPLACE TEMP TABLE plan_forgotten (object VARCHAR, key VARCHAR, property VARCHAR, with_rejects BOOLEAN);
