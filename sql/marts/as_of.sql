-- The day at whose end every window and cohort ends: today, or what `--as-of` said.
-- columns:
--   as_of  DATE  GMT day; "the last 30 days" are this one and the 29 before
SELECT CAST($as_of AS DATE) AS as_of
