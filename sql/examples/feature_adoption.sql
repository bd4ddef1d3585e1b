-- Which features are taken up? Share of all companies that used a feature in the last 30 days, by module.
WITH companies AS (
    SELECT count(*) AS n FROM marts.company_profiles
)
SELECT f.product_id, f.module_id, f.feature_id, count(DISTINCT f.account_id) AS companies,
       round(100.0 * count(DISTINCT f.account_id) / any_value(c.n)) AS percent_of_companies,
       count(DISTINCT f.user_id) AS users, sum(f.total) AS total, max(f.day) AS last_used
FROM marts.daily_feature_totals AS f
CROSS JOIN marts.as_of AS w
CROSS JOIN companies AS c
WHERE f.day BETWEEN w.as_of - 29 AND w.as_of
GROUP BY ALL
ORDER BY f.product_id, f.module_id, companies DESC, f.feature_id;
