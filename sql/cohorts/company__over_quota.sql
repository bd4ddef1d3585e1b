-- Companies that have used more than a quota in the period that goes on: of any meter that knows one (sql/meters/).
SELECT company_id
FROM marts.meter_usage
WHERE NOT is_closed AND quantity > quota
