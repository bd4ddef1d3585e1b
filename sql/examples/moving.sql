-- Whose use moves most? The last 30 days against the 30 before, the greatest loss of calls first.
SELECT company_id, company_name, calls_prev_30d, calls_30d, calls_30d - calls_prev_30d AS change,
       round(100 * calls_trend_30d) AS change_percent, cohorts
FROM marts.company_profiles
WHERE calls_30d <> calls_prev_30d
ORDER BY change, company_id;
