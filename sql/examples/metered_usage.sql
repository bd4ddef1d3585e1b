-- What did each company use in each period, to bill or to compare? The last rows are of closed periods that moved since.
SELECT company_id, coalesce(subscription_id, 'calendar month') AS period_of, period_start, period_end, meter, quantity,
       is_closed, NULL AS was
FROM marts.meter_usage
WHERE quantity > 0
UNION ALL
SELECT company_id, coalesce(subscription_id, 'calendar month'), period_start, period_end, meter, quantity_after, true,
       quantity_before
FROM ops.meter_adjustments
ORDER BY was NULLS FIRST, company_id, period_start, meter;
