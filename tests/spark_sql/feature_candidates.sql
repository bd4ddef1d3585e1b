WITH met AS (
  SELECT DISTINCT
    i.key_first,
    i.key_last
  FROM incoming AS i
  JOIN known AS h
    ON h.key_first = i.key_first AND h.key_last = i.key_last
  WHERE
    NOT i.key_first IS NULL
), news AS (
  SELECT
    i.load_seq,
    i.line,
    i.element,
    i.module_id,
    i.feature_id,
    i.key_first,
    i.key_last
  FROM incoming AS i
  WHERE
    i.key_first IS NULL
  UNION ALL
  SELECT
    i.load_seq,
    i.line,
    i.element,
    i.module_id,
    i.feature_id,
    i.key_first,
    i.key_last
  FROM incoming AS i
  LEFT JOIN met AS m
    ON m.key_first = i.key_first AND m.key_last = i.key_last
  WHERE
    NOT i.key_first IS NULL AND m.key_first IS NULL
), told AS (
  SELECT
    n.load_seq,
    n.line,
    n.element,
    n.module_id,
    n.feature_id,
    n.key_first,
    n.key_last,
    CASE
      WHEN f.name IS NULL OR (
        n.module_id <> '' AND m.name IS NULL
      )
      THEN 1
      ELSE 0
    END AS is_open
  FROM news AS n
  LEFT JOIN slots AS m
    ON m.kind = 'module' AND m.name = n.module_id
  LEFT JOIN slots AS f
    ON f.kind = 'feature' AND f.name = n.feature_id
), mixed AS (
  SELECT
    t.key_first,
    t.key_last
  FROM told AS t
  WHERE
    NOT t.key_first IS NULL
  GROUP BY
    t.key_first,
    t.key_last
  HAVING
    MAX(t.is_open) = 1
    AND (
      MIN(t.module_id) <> MAX(t.module_id) OR MIN(t.feature_id) <> MAX(t.feature_id)
    )
), by_key AS (
  SELECT
    load_seq,
    line,
    element,
    module_id,
    feature_id,
    key_first,
    key_last
  FROM (
    SELECT
      t.load_seq,
      t.line,
      t.element,
      t.module_id,
      t.feature_id,
      t.key_first,
      t.key_last,
      ROW_NUMBER() OVER (
        PARTITION BY t.key_first, t.key_last, t.module_id, t.feature_id
        ORDER BY t.load_seq NULLS LAST, t.line NULLS LAST, t.element NULLS LAST
      ) AS _w
    FROM told AS t
    JOIN mixed AS x
      ON x.key_first = t.key_first AND x.key_last = t.key_last
  ) AS _t
  WHERE
    _w = 1
), by_pair AS (
  SELECT
    load_seq,
    line,
    element,
    module_id,
    feature_id,
    key_first,
    key_last
  FROM (
    SELECT
      t.load_seq,
      t.line,
      t.element,
      t.module_id,
      t.feature_id,
      t.key_first,
      t.key_last,
      ROW_NUMBER() OVER (
        PARTITION BY t.module_id, t.feature_id
        ORDER BY t.load_seq NULLS LAST, t.line NULLS LAST, t.element NULLS LAST
      ) AS _w
    FROM told AS t
    LEFT JOIN mixed AS x
      ON x.key_first = t.key_first AND x.key_last = t.key_last
    WHERE
      t.is_open = 1 AND x.key_first IS NULL
  ) AS _t
  WHERE
    _w = 1
)
SELECT
  k.load_seq,
  k.line,
  k.element,
  k.module_id,
  k.feature_id,
  k.key_first,
  k.key_last
FROM by_key AS k
UNION ALL
SELECT
  p.load_seq,
  p.line,
  p.element,
  p.module_id,
  p.feature_id,
  p.key_first,
  p.key_last
FROM by_pair AS p
