-- How long do companies take from sign-up to their first successful call, by month of sign-up?
SELECT date_trunc('month', created_at) AS signed_up, count(*) AS companies,
       count(first_call_seconds) AS have_called,
       round(median(first_call_seconds) / 3600, 1) AS median_hours,
       round(quantile_cont(first_call_seconds, 0.9) / 3600, 1) AS slowest_tenth_hours
FROM marts.company_profiles
GROUP BY ALL
ORDER BY signed_up DESC;
