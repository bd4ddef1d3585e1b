SELECT
  CAST(event_at AS DATE) AS day,
  account_id,
  user_id,
  product_id,
  module_id,
  feature_id,
  CAST(COALESCE(TRY_SUM(total), 9223372036854775807) AS BIGINT) AS total,
  COUNT(*) AS events,
  MIN(event_at) AS first_at,
  MAX(event_at) AS last_at
FROM feature_events AS feature_events
WHERE
  load_seq > 7
GROUP BY
  1,
  2,
  3,
  4,
  5,
  6
