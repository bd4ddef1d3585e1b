-- Which endpoints are used most, by how many companies, and how well do they do? (Needs [usage] routes = "all".)
SELECT verb, route, CAST(sum(calls) AS BIGINT) AS calls, count(DISTINCT company_id) AS companies,
       round(100.0 * sum(errors) / sum(calls), 1) AS percent_failed, max(p90_ms) AS worst_p90_ms
FROM marts.endpoint_usage_daily
JOIN marts.as_of AS w ON day > w.as_of - 30 AND day <= w.as_of
GROUP BY verb, route
ORDER BY calls DESC, route, verb
LIMIT 20;
