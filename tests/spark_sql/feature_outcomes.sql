WITH fitting AS (
  SELECT
    i.load_seq,
    i.line,
    i.element,
    i.key_first,
    i.key_last,
    CASE
      WHEN i.module_id <> ''
      AND m.name IS NULL
      AND (
        i.load_seq > l.load_seq
        OR (
          i.load_seq = l.load_seq
          AND (
            i.line > l.line OR (
              i.line = l.line AND i.element > l.element
            )
          )
        )
      )
      THEN 'module_limit'
      WHEN f.name IS NULL OR (
        i.module_id <> '' AND m.name IS NULL
      )
      THEN 'feature_limit'
    END AS refused
  FROM incoming AS i
  CROSS JOIN modules_full AS l
  LEFT JOIN slots AS m
    ON m.kind = 'module' AND m.name = i.module_id
  LEFT JOIN slots AS f
    ON f.kind = 'feature' AND f.name = i.feature_id
), keyed AS (
  SELECT
    f.load_seq,
    f.line,
    f.element,
    f.key_first,
    f.key_last,
    CASE WHEN f.refused IS NULL THEN 1 ELSE 0 END AS fits
  FROM fitting AS f
  WHERE
    NOT f.key_first IS NULL
), met AS (
  SELECT DISTINCT
    k.key_first,
    k.key_last
  FROM keyed AS k
  JOIN known AS h
    ON h.key_first = k.key_first AND h.key_last = k.key_last
), again AS (
  SELECT
    g.key_first,
    g.key_last,
    MAX(g.is_known) AS is_known
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
  ) AS g
  GROUP BY
    g.key_first,
    g.key_last
), counted AS (
  SELECT
    k.load_seq,
    k.line,
    k.element,
    a.is_known,
    SUM(k.fits) OVER (
      PARTITION BY k.key_first, k.key_last
      ORDER BY k.load_seq NULLS LAST, k.line NULLS LAST, k.element NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS taken_before
  FROM keyed AS k
  JOIN again AS a
    ON a.key_first = k.key_first AND a.key_last = k.key_last
), duplicates AS (
  SELECT
    c.load_seq,
    c.line,
    c.element
  FROM counted AS c
  WHERE
    c.is_known = 1 OR c.taken_before > 0
)
SELECT
  f.load_seq,
  f.line,
  f.element,
  CASE WHEN NOT d.load_seq IS NULL THEN 'duplicate' ELSE f.refused END AS outcome
FROM fitting AS f
LEFT JOIN duplicates AS d
  ON d.load_seq = f.load_seq AND d.line = f.line AND d.element = f.element
WHERE
  NOT d.load_seq IS NULL OR NOT f.refused IS NULL
