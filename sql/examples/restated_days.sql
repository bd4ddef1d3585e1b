-- Which days changed after the fact, because a claim came late, and by how much?
SELECT r.day, r.company_id_before, r.company_id_after, sum(r.calls) AS calls, r.reason,
       count(DISTINCT r.run) AS runs
FROM ops.restatements AS r
GROUP BY ALL
ORDER BY r.day DESC, calls DESC, r.company_id_after;
