SELECT
  CAST(event_at AS DATE) AS day,
  COALESCE(company_id, '') AS company_id,
  COALESCE(user_id, '') AS user_id,
  COALESCE(session_token, '') AS session_token,
  COUNT(*) AS events,
  CAST(COALESCE(TRY_SUM(weight), 9223372036854775807) AS BIGINT) AS calls,
  CAST(COALESCE(
    TRY_SUM(CASE WHEN status BETWEEN 400 AND 499 THEN weight ELSE 0 END),
    9223372036854775807
  ) AS BIGINT) AS errors_4xx,
  CAST(COALESCE(
    TRY_SUM(CASE WHEN status BETWEEN 500 AND 599 THEN weight ELSE 0 END),
    9223372036854775807
  ) AS BIGINT) AS errors_5xx,
  CAST(COALESCE(TRY_SUM(CASE WHEN is_blocked THEN weight ELSE 0 END), 9223372036854775807) AS BIGINT) AS blocked_calls,
  MIN(event_at) AS first_at,
  MAX(event_at) AS last_at,
  MIN(CASE WHEN status BETWEEN 200 AND 299 THEN event_at END) AS first_success_at,
  COALESCE(anonymous_id, '') AS anonymous_id,
  CASE
    WHEN COUNT(*) FILTER(WHERE
      NOT latency_us IS NULL) > 0
    THEN COLLECT_LIST(
      CASE
        WHEN latency_us <= 0
        THEN 0
        ELSE 1 + CAST(CEIL(LN(latency_us) / 0.09984533496971612) AS BIGINT)
      END + 256 * LEAST(weight, 9007199254740992)
    ) FILTER(WHERE
      NOT latency_us IS NULL)
  END AS latencies
FROM api_calls AS api_calls
WHERE
  load_seq > 7
GROUP BY
  1,
  2,
  3,
  4,
  13
