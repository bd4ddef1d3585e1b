-- Who entered or left a cohort in the last seven days (by the clock of the runs), and what does it look like now?
SELECT c.changed_at, c.change, c.cohort, c.entity, c.id,
       coalesce(p.company_name, u.name) AS name, coalesce(p.calls_30d, u.calls_30d) AS calls_30d
FROM marts.cohort_changes AS c
LEFT JOIN marts.company_profiles AS p ON c.entity = 'company' AND p.company_id = c.id
LEFT JOIN marts.user_profiles AS u ON c.entity = 'user' AND u.user_id = c.id
WHERE c.changed_at >= timezone('UTC', now()) - INTERVAL 7 DAY
ORDER BY c.changed_at DESC, c.cohort, c.entity, c.id;
