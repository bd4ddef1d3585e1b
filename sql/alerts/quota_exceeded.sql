-- Companies that have used more than a quota in the period that goes on (sql/meters/).
SELECT company_id, string_agg(format('{} of {:.0f} {}', quantity, quota, replace(meter, '_', ' ')), ', ' ORDER BY meter) AS detail
FROM marts.meter_usage
WHERE NOT is_closed AND quantity > quota
GROUP BY company_id
