-- Which subscriptions end in the next 30 days, and is the product in use?
SELECT s.subscription_id, s.company_id, p.company_name, s.status, CAST(s.current_period_end AS DATE) AS ends,
       p.calls_30d, p.calls_prev_30d, p.last_seen_at
FROM marts.subscriptions AS s
CROSS JOIN marts.as_of AS w
LEFT JOIN marts.company_profiles AS p USING (company_id)
WHERE s.current_period_end > w.as_of AND s.current_period_end <= w.as_of + INTERVAL 30 DAY
ORDER BY s.current_period_end, s.subscription_id;
