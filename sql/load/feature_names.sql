-- Long names as they came for the first time, by O: two of them that are cut to one name are merged.
-- reads:
--   names: load_seq, line, element, field, name, original
--   known: field, name, original
--   outcomes: load_seq, line, element, outcome
-- columns:
--   load_seq   BIGINT   the load
--   line       BIGINT   its line
--   element    BIGINT   which of several records on the line
--   field      VARCHAR  feature_id, module_id or product_id
--   name       VARCHAR  as it is kept
--   original   VARCHAR  what tells apart how it came
--   is_merged  INTEGER  1: another name had become this one before
-- A record for which there is no slot has no names.
WITH counted AS (
    SELECT n.load_seq, n.line, n.element, n.field, n.name, n.original
    FROM names AS n
    LEFT JOIN (
        SELECT o.load_seq, o.line, o.element FROM outcomes AS o WHERE o.outcome <> 'duplicate'
    ) AS r ON r.load_seq = n.load_seq AND r.line = n.line AND r.element = n.element
    WHERE r.load_seq IS NULL
), news AS (
    SELECT c.load_seq, c.line, c.element, c.field, c.name, c.original
    FROM counted AS c
    LEFT JOIN known AS h ON h.field = c.field AND h.name = c.name AND h.original = c.original
    WHERE h.field IS NULL
    QUALIFY row_number() OVER (
        PARTITION BY c.field, c.name, c.original ORDER BY c.load_seq, c.line, c.element
    ) = 1
), before AS (
    SELECT DISTINCT h.field, h.name FROM known AS h
)
SELECT
    n.load_seq, n.line, n.element, n.field, n.name, n.original,
    CASE
        WHEN b.field IS NOT NULL OR row_number() OVER (
            PARTITION BY n.field, n.name ORDER BY n.load_seq, n.line, n.element
        ) > 1 THEN 1
        ELSE 0
    END AS is_merged
FROM news AS n LEFT JOIN before AS b ON b.field = n.field AND b.name = n.name
