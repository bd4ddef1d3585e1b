-- What did the last night notice that somebody should look at, and which checks warn?
SELECT kind, subject, message, help FROM ops.warnings
UNION ALL
SELECT 'check' AS kind, model AS subject, name || ': ' || failures || ' rows' AS message, sample AS help
FROM core.check_results
WHERE failures > 0 AND model <> 'ops.warnings'
ORDER BY kind, subject, message;
