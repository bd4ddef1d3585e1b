-- The few feature events that decide which slots are taken: they are walked one by one, in order O.
-- A pair of module and feature that came once is tracked for ever, or refused for ever. So its first event tells, of those
-- whose event id cannot make them duplicates of another pair's. Of event ids that stand on several pairs each pair's first
-- event is walked as well: what is refused does not take its id.
-- reads:
--   incoming: load_seq, line, element, module_id, feature_id, key_first, key_last
--   known: key_first, key_last
--   slots: kind, name
-- columns:
--   load_seq    BIGINT   the load
--   line        BIGINT   its line
--   element     BIGINT   which of several records on the line
--   module_id   VARCHAR  '': none
--   feature_id  VARCHAR  the feature
--   key_first   BIGINT   of its event id; null: it has none
--   key_last    BIGINT   of its event id
WITH met AS (
    SELECT DISTINCT i.key_first, i.key_last
    FROM incoming AS i JOIN known AS h ON h.key_first = i.key_first AND h.key_last = i.key_last
    WHERE i.key_first IS NOT NULL
), news AS (
    SELECT i.load_seq, i.line, i.element, i.module_id, i.feature_id, i.key_first, i.key_last
    FROM incoming AS i
    WHERE i.key_first IS NULL
    UNION ALL
    SELECT i.load_seq, i.line, i.element, i.module_id, i.feature_id, i.key_first, i.key_last
    FROM incoming AS i LEFT JOIN met AS m ON m.key_first = i.key_first AND m.key_last = i.key_last
    WHERE i.key_first IS NOT NULL AND m.key_first IS NULL
), told AS (
    SELECT
        n.load_seq, n.line, n.element, n.module_id, n.feature_id, n.key_first, n.key_last,
        CASE WHEN f.name IS NULL OR (n.module_id <> '' AND m.name IS NULL) THEN 1 ELSE 0 END AS is_open
    FROM news AS n
    LEFT JOIN slots AS m ON m.kind = 'module' AND m.name = n.module_id
    LEFT JOIN slots AS f ON f.kind = 'feature' AND f.name = n.feature_id
), mixed AS (
    SELECT t.key_first, t.key_last
    FROM told AS t
    WHERE t.key_first IS NOT NULL
    GROUP BY t.key_first, t.key_last
    HAVING max(t.is_open) = 1
        AND (min(t.module_id) <> max(t.module_id) OR min(t.feature_id) <> max(t.feature_id))
), by_key AS (
    SELECT t.load_seq, t.line, t.element, t.module_id, t.feature_id, t.key_first, t.key_last
    FROM told AS t JOIN mixed AS x ON x.key_first = t.key_first AND x.key_last = t.key_last
    QUALIFY row_number() OVER (
        PARTITION BY t.key_first, t.key_last, t.module_id, t.feature_id ORDER BY t.load_seq, t.line, t.element
    ) = 1
), by_pair AS (
    SELECT t.load_seq, t.line, t.element, t.module_id, t.feature_id, t.key_first, t.key_last
    FROM told AS t LEFT JOIN mixed AS x ON x.key_first = t.key_first AND x.key_last = t.key_last
    WHERE t.is_open = 1 AND x.key_first IS NULL
    QUALIFY row_number() OVER (
        PARTITION BY t.module_id, t.feature_id ORDER BY t.load_seq, t.line, t.element
    ) = 1
)
SELECT k.load_seq, k.line, k.element, k.module_id, k.feature_id, k.key_first, k.key_last FROM by_key AS k
UNION ALL
SELECT p.load_seq, p.line, p.element, p.module_id, p.feature_id, p.key_first, p.key_last FROM by_pair AS p
