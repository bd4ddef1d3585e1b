SELECT
  CAST(event_at AS DATE) AS day,
  COALESCE(company_id, '') AS company_id,
  COALESCE(user_id, '') AS user_id,
  COALESCE(session_token, '') AS session_token,
  COALESCE(anonymous_id, '') AS anonymous_id,
  COALESCE(action_name, '') AS action_name,
  COUNT(*) AS actions,
  MIN(event_at) AS first_at,
  MAX(event_at) AS last_at
FROM actions AS actions
WHERE
  load_seq > 7
GROUP BY
  1,
  2,
  3,
  4,
  5,
  6
