-- What did the last load reject, why, and where does it stand? (All files that one run finds have one first-seen time.)
WITH last_load AS (
    SELECT file_seq, path, first_seen_at FROM ops.files
    WHERE first_seen_at = (SELECT max(first_seen_at) FROM ops.files)
)
SELECT r.source, r.reason, count(*) AS records, min(f.path || ':' || r.line) AS for_example,
       arg_min(r.detail, (f.path, r.line, r.element)) AS detail
FROM ops.rejects AS r
JOIN last_load AS f USING (file_seq)
GROUP BY ALL
ORDER BY records DESC, r.source, r.reason;
