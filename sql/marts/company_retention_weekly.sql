-- Of the companies that were first active in one week, how many were active so many weeks later. Active: an API call, an
-- action or a feature event. Weeks begin on Mondays (GMT); days after the as-of day are left out.
-- grain: first_week, weeks_since
-- columns:
--   first_week        DATE     the Monday of the week in which they were first active
--   weeks_since       BIGINT   weeks after it; 0 is the week itself
--   companies         BIGINT   companies that were first active in it
--   active_companies  BIGINT   of these: active so many weeks later
--   share             DOUBLE   active_companies of companies, 0 to 1
--   is_over           BOOLEAN  the later week had ended by the as-of day; until then, more may become active
WITH weeks AS (
    SELECT DISTINCT a.company_id, CAST(date_trunc('week', a.day) AS DATE) AS week
    FROM core.company_activity_daily AS a
    JOIN marts.as_of AS w ON a.day <= w.as_of
), firsts AS (
    SELECT company_id, min(week) AS first_week FROM weeks GROUP BY 1
), sizes AS (
    SELECT f.first_week, CAST(date_trunc('week', w.as_of) AS DATE) AS last_week, w.as_of, count(*) AS companies
    FROM firsts AS f CROSS JOIN marts.as_of AS w
    GROUP BY ALL
), later AS (
    -- Weeks without anybody are there, too.
    SELECT *, unnest(range(0, date_diff('day', first_week, last_week) // 7 + 1)) AS weeks_since FROM sizes
), active AS (
    SELECT f.first_week, date_diff('day', f.first_week, w.week) // 7 AS weeks_since, count(*) AS active_companies
    FROM weeks AS w JOIN firsts AS f ON f.company_id = w.company_id
    GROUP BY 1, 2
)
SELECT
    l.first_week, l.weeks_since, l.companies,
    coalesce(a.active_companies, 0) AS active_companies,
    coalesce(a.active_companies, 0) / l.companies AS share,
    l.first_week + CAST(7 * l.weeks_since + 6 AS INTEGER) <= l.as_of AS is_over
FROM later AS l
LEFT JOIN active AS a ON a.first_week = l.first_week AND a.weeks_since = l.weeks_since
