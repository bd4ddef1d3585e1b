-- What CustomerSuccessBox is told at the end of a day: one row is one call. This SELECT decides what is sent; look at
-- `warehouse csb plan` after a change.
--
-- account_id, user_id, product_id, module_id, feature_id  whose use of what; text, as CustomerSuccessBox knows them
-- total                                                   the day's total. It is told what was not told yet of it
-- day                                                     the GMT day. Only today is ever sent; null or left out: the as-of day
-- timestamp                                               when it was used last, within the day; null or left out: when it is sent
--
-- The query runs as it stands in analytics.duckdb; a WHERE at its end chooses what is sent at all.
SELECT t.account_id, t.user_id, t.product_id, t.module_id, t.feature_id, t.total, t.day, t.last_at AS timestamp
FROM marts.daily_feature_totals AS t
JOIN marts.as_of AS w ON t.day = w.as_of
