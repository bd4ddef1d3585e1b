WITH counted AS (
  SELECT
    n.load_seq,
    n.line,
    n.element,
    n.field,
    n.name,
    n.original
  FROM names AS n
  LEFT JOIN (
    SELECT
      o.load_seq,
      o.line,
      o.element
    FROM outcomes AS o
    WHERE
      o.outcome <> 'duplicate'
  ) AS r
    ON r.load_seq = n.load_seq AND r.line = n.line AND r.element = n.element
  WHERE
    r.load_seq IS NULL
), news AS (
  SELECT
    load_seq,
    line,
    element,
    field,
    name,
    original
  FROM (
    SELECT
      c.load_seq,
      c.line,
      c.element,
      c.field,
      c.name,
      c.original,
      ROW_NUMBER() OVER (
        PARTITION BY c.field, c.name, c.original
        ORDER BY c.load_seq NULLS LAST, c.line NULLS LAST, c.element NULLS LAST
      ) AS _w
    FROM counted AS c
    LEFT JOIN known AS h
      ON h.field = c.field AND h.name = c.name AND h.original = c.original
    WHERE
      h.field IS NULL
  ) AS _t
  WHERE
    _w = 1
), before AS (
  SELECT DISTINCT
    h.field,
    h.name
  FROM known AS h
)
SELECT
  n.load_seq,
  n.line,
  n.element,
  n.field,
  n.name,
  n.original,
  CASE
    WHEN NOT b.field IS NULL
    OR ROW_NUMBER() OVER (
      PARTITION BY n.field, n.name
      ORDER BY n.load_seq NULLS LAST, n.line NULLS LAST, n.element NULLS LAST
    ) > 1
    THEN 1
    ELSE 0
  END AS is_merged
FROM news AS n
LEFT JOIN before AS b
  ON b.field = n.field AND b.name = n.name
