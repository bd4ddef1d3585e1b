-- Which users were announced but have never made an API call, and do they use the product at all?
SELECT u.user_id, u.name, u.email, u.company_id, CAST(u.created_at AS DATE) AS announced,
       u.features_used_30d, u.last_seen_at
FROM marts.user_profiles AS u
WHERE u.events = 0
ORDER BY u.company_id, u.created_at, u.user_id;
