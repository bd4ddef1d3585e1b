WITH keyed AS (
  SELECT
    i.load_seq,
    i.line,
    i.element,
    i.key_first,
    i.key_last
  FROM incoming AS i
  WHERE
    NOT i.key_first IS NULL
), met AS (
  SELECT DISTINCT
    k.key_first,
    k.key_last
  FROM keyed AS k
  JOIN known AS h
    ON h.key_first = k.key_first AND h.key_last = k.key_last
), again AS (
  SELECT
    f.key_first,
    f.key_last,
    MAX(f.is_known) AS is_known
  FROM (
    SELECT
      m.key_first,
      m.key_last,
      1 AS is_known
    FROM met AS m
    UNION ALL
    SELECT
      k.key_first,
      k.key_last,
      0 AS is_known
    FROM keyed AS k
    GROUP BY
      k.key_first,
      k.key_last
    HAVING
      COUNT(*) > 1
  ) AS f
  GROUP BY
    f.key_first,
    f.key_last
), numbered AS (
  SELECT
    k.load_seq,
    k.line,
    k.element,
    a.is_known,
    ROW_NUMBER() OVER (
      PARTITION BY k.key_first, k.key_last
      ORDER BY k.load_seq NULLS LAST, k.line NULLS LAST, k.element NULLS LAST
    ) AS number
  FROM keyed AS k
  JOIN again AS a
    ON a.key_first = k.key_first AND a.key_last = k.key_last
)
SELECT
  n.load_seq,
  n.line,
  n.element
FROM numbered AS n
WHERE
  n.is_known = 1 OR n.number > 1
