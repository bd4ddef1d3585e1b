-- Which files came in the last seven days (by the clock of the runs), and what became of their records?
SELECT CAST(first_seen_at AS DATE) AS seen, source, count(*) AS files, count(error) AS unreadable, sum(records) AS records,
       sum(loaded) AS loaded, sum(duplicates) AS duplicates, sum(rejected) AS rejected, sum(repaired) AS repaired
FROM ops.files
WHERE first_seen_at >= timezone('UTC', now()) - INTERVAL 7 DAY
GROUP BY ALL
ORDER BY seen DESC, source;
