-- Companies that were active on most days of the month, and have done nothing for three days.
SELECT company_id, format('last seen {} days ago', days_since_last_seen) AS detail
FROM marts.company_profiles
WHERE active_days_30d >= 10 AND days_since_last_seen >= 3
