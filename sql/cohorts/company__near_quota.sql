-- Companies that have used at least four fifths of a quota in the period that goes on, and no more than all of it: of any meter
-- that knows one (sql/meters/).
SELECT company_id
FROM marts.meter_usage
WHERE NOT is_closed AND quantity >= 0.8 * quota AND quantity <= quota
