-- Which companies have something in their metadata? Look for keys first, then filter by type and value.
SELECT m.company_id, p.company_name, m.path, m.value, m.updated_at, p.calls_30d
FROM marts.company_metadata AS m
JOIN marts.company_profiles AS p USING (company_id)
WHERE m.path = 'demographics.employees' AND m.type = 'number' AND m.value_number >= 100
ORDER BY m.value_number DESC, m.company_id;
