-- How often each user of each account used each feature, by day.
-- grain: day, account_id, user_id, product_id, module_id, feature_id
-- rebuild: merge
-- merge: sum(total, events), min(first_at), max(last_at)
-- columns:
--   day         DATE       GMT day of the event
--   account_id  VARCHAR    the company
--   user_id     VARCHAR    the user
--   product_id  VARCHAR    the product, at most 64 characters, '' if not given
--   module_id   VARCHAR    the module, at most 64 characters, '' if not given
--   feature_id  VARCHAR    the feature, at most 64 characters
--   total       BIGINT     sum of the events' totals
--   events      BIGINT     records
--   first_at    TIMESTAMP  first event, UTC
--   last_at     TIMESTAMP  last event, UTC
-- checks:
--   one_module_a_feature (warn): SELECT feature_id, list_sort(list(DISTINCT product_id || ' / ' || module_id)) AS places
--     FROM marts.daily_feature_totals GROUP BY 1 HAVING count(DISTINCT product_id || chr(0) || module_id) > 1
--   ids_are_no_floats (warn): SELECT DISTINCT account_id, user_id FROM marts.daily_feature_totals
--     WHERE regexp_full_match(account_id, '[0-9]+[.]0') OR regexp_full_match(user_id, '[0-9]+[.]0')
SELECT
    CAST(event_at AS DATE) AS day, account_id, user_id, product_id, module_id, feature_id,
    saturating_sum(total) AS total,
    count(*) AS events,
    min(event_at) AS first_at,
    max(event_at) AS last_at
FROM raw.feature_events
WHERE load_seq > $since
GROUP BY 1, 2, 3, 4, 5, 6
