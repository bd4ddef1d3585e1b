-- Every file that was ever seen, and what became of its records.
-- grain: file_seq
-- columns:
--   file_seq       BIGINT     its number: the order in which files were first seen
--   source         VARCHAR    folder below raw/
--   path           VARCHAR    where it was first seen, below raw/; until it is loaded, where it is
--   sha256         VARCHAR    hash of its content when it was seen; null: unreadable
--   bytes          BIGINT     size when it was seen
--   received_date  DATE       from its dt= or date= folder
--   first_seen_at  TIMESTAMP  UTC
--   records        BIGINT     records found
--   loaded         BIGINT     records that count
--   duplicates     BIGINT     records that were loaded before
--   rejected       BIGINT     records in ops.rejects
--   repaired       BIGINT     records in ops.repairs
--   error          VARCHAR    why nothing of it was loaded; tried again each run
--   note           VARCHAR    how it follows an older file at its path
--   loaded_under   JSON       the settings that act while loading, as they were when it was loaded
-- checks:
--   records_are_accounted_for: SELECT * FROM ops.files WHERE records <> loaded + duplicates + rejected
--   files_are_readable (warn): SELECT f.path, f.error FROM ops.files f
--     WHERE f.error IS NOT NULL AND f.note IS NULL
--   sources_keep_coming (warn): WITH arrived AS (
--       SELECT source, CAST(first_seen_at AS DATE) AS day, sum(records) AS records FROM ops.files GROUP BY ALL
--     ), last_whole AS (SELECT max(day) - 1 AS day FROM arrived
--     ), began AS (SELECT source, min(day) AS day FROM arrived GROUP BY source
--     ), weeks AS (
--       SELECT b.source, w.ago, coalesce(a.records, 0) AS records
--       FROM began AS b CROSS JOIN last_whole AS l CROSS JOIN (SELECT unnest([0, 1, 2, 3, 4]) AS ago) AS w
--       LEFT JOIN arrived AS a ON a.source = b.source AND a.day = l.day - 7 * w.ago
--       WHERE b.day <= l.day - 7 * w.ago)
--     SELECT source, max(records) FILTER (ago = 0) AS records, median(records) FILTER (ago > 0) AS usual
--     FROM weeks GROUP BY source
--     HAVING count(*) FILTER (ago > 0) >= 3 AND usual >= 100 AND usual > 5 * max(records) FILTER (ago = 0)
--   files_are_not_rewritten (warn): SELECT path, note FROM ops.files WHERE note LIKE '%stays loaded'
WITH refused AS (
    SELECT file_seq, count(*) AS updates FROM core.rejected_updates GROUP BY 1
), repaired AS (
    SELECT file_seq, count(DISTINCT (line, element)) AS records FROM ops.repairs GROUP BY 1
), standing AS (
    SELECT file_seq FROM raw.paths
    UNION
    SELECT file_seq FROM raw.files WHERE sha256 IS NULL
)
SELECT
    f.file_seq, f.source, f.path, f.sha256, f.bytes, f.received_date, f.first_seen_at,
    coalesce(f.records, 0) AS records,
    coalesce(f.loaded, 0) - coalesce(r.updates, 0) AS loaded,
    coalesce(f.duplicates, 0) AS duplicates,
    coalesce(f.rejected, 0) + coalesce(r.updates, 0) AS rejected,
    coalesce(p.records, 0) AS repaired,
    f.error,
    CASE WHEN f.error IS NOT NULL AND s.file_seq IS NULL THEN 'a later version stands at its path' ELSE f.note END AS note,
    CASE WHEN f.load_seq IS NOT NULL AND f.withdrawn_at IS NULL THEN CAST(f.loaded_under AS JSON) END AS loaded_under
FROM raw.files AS f
LEFT JOIN refused AS r ON r.file_seq = f.file_seq
LEFT JOIN repaired AS p ON p.file_seq = f.file_seq
LEFT JOIN standing AS s ON s.file_seq = f.file_seq
