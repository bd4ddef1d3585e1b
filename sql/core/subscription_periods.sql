-- The days of each subscription's periods, also of those that are over: what its updates said, one after the other.
-- grain: subscription_id, first_day
-- columns:
--   subscription_id  VARCHAR  the subscription
--   company_id       VARCHAR  whose it was then
--   first_day        DATE     GMT day of current_period_start
--   last_day         DATE     GMT day of current_period_end (not if it ends at 00:00), before the next period at the latest
WITH told AS (
    -- As it stood after each update: what one does not give is what was given before.
    SELECT
        u.subscription_id, u.effective_at, u.file_seq, u.line, u.element,
        coalesce(last_value(u.company_id IGNORE NULLS) OVER up_to, first_value(u.company_id IGNORE NULLS) OVER since) AS company_id,
        last_value(u.current_period_start IGNORE NULLS) OVER up_to AS starts_at,
        last_value(u.current_period_end IGNORE NULLS) OVER up_to AS ends_at
    FROM raw.subscription_updates AS u
    LEFT JOIN core.rejected_updates AS r ON r.file_seq = u.file_seq AND r.line = u.line AND r.element = u.element
    WHERE r.file_seq IS NULL
    WINDOW up_to AS (
        PARTITION BY u.subscription_id ORDER BY u.effective_at, u.file_seq, u.line, u.element
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ), since AS (
        PARTITION BY u.subscription_id ORDER BY u.effective_at, u.file_seq, u.line, u.element
        ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
    )
), periods AS (
    -- Of one that was told again, with another end, the last stands.
    SELECT subscription_id, company_id, CAST(starts_at AS DATE) AS first_day,
           CAST(ends_at - INTERVAL '1' MICROSECOND AS DATE) AS ends_on
    FROM told
    WHERE company_id IS NOT NULL AND starts_at < ends_at
    QUALIFY row_number() OVER (
        PARTITION BY subscription_id, CAST(starts_at AS DATE)
        ORDER BY effective_at DESC, file_seq DESC, line DESC, element DESC
    ) = 1
)
SELECT
    subscription_id, company_id, first_day,
    least(ends_on, CAST(lead(first_day) OVER (PARTITION BY subscription_id ORDER BY first_day) - INTERVAL '1' DAY AS DATE)) AS last_day
FROM periods
