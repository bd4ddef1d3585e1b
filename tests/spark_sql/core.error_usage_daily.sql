SELECT
  CAST(event_at AS DATE) AS day,
  COALESCE(company_id, '') AS company_id,
  COALESCE(user_id, '') AS user_id,
  COALESCE(session_token, '') AS session_token,
  COALESCE(anonymous_id, '') AS anonymous_id,
  COALESCE(verb, '') AS verb,
  REGEXP_REPLACE(
    REPLACE(
      REGEXP_REPLACE(
        REPLACE(CONCAT(COALESCE(COALESCE(route, ''), ''), '/'), '/', '//'),
        '/([0-9]+|[0-9a-fA-F-]*[0-9][0-9a-fA-F-]{7,})/',
        '/:id/'
      ),
      '//',
      '/'
    ),
    '/$',
    ''
  ) AS route,
  status,
  CAST(COALESCE(TRY_SUM(weight), 9223372036854775807) AS BIGINT) AS calls
FROM api_calls AS api_calls
WHERE
  load_seq > 7 AND status BETWEEN 400 AND 599
GROUP BY
  1,
  2,
  3,
  4,
  5,
  6,
  7,
  8
