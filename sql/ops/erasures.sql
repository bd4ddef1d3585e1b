-- Companies and users that were erased, and what went with them. Whose row it is, only a keyed hash says; the key
-- stays in raw.duckdb.
-- grain: entity, id_hash
-- columns:
--   entity        VARCHAR    company or user; token, anonymous, subscription, company_token, email, phone or domain: theirs; kept: others have it, too
--   id_hash       VARCHAR    keyed hash of the id; "erased:" and the hash is its pseudonym where something stays
--   erased_at     TIMESTAMP  UTC
--   rows_removed  BIGINT     raw rows that named the company or user; null for what went with it
--   run           VARCHAR    the erase that asked for it; load: a later file said that it was theirs
SELECT entity, id_hash, erased_at, rows_removed, run
FROM raw.erasures
