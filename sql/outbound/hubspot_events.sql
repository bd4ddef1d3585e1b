-- What happened, told to HubSpot as custom events, each once: only where `[hubspot] events = true`. This SELECT is the
-- mapping: edit it, then `warehouse hubspot-init` shows the event definitions that HubSpot lacks, and `warehouse plan` how
-- many events a push would send.
--
-- event                 name of the event in HubSpot; one event is of companies or of contacts, never of both
-- event_id              which one it is: an event of the same name and id is never sent again
-- company_id, user_id   of whom it is: one of them, the other is null
-- occurred_at           when it happened, UTC
-- every other column    a property of the event, where it is not null
--
-- The query runs as it stands in analytics.duckdb; a WHERE chooses what is told at all.
SELECT
    'api_first_call' AS event,
    user_id AS event_id,
    NULL AS company_id,
    user_id,
    created_at + to_seconds(first_call_seconds) AS occurred_at,
    first_call_seconds AS api_seconds_since_signup,
    NULL AS api_cohort
FROM marts.user_profiles
WHERE first_call_seconds IS NOT NULL
UNION ALL
SELECT
    'api_company_first_call',
    company_id,
    company_id,
    NULL,
    created_at + to_seconds(first_call_seconds),
    first_call_seconds,
    NULL
FROM marts.company_profiles
WHERE first_call_seconds IS NOT NULL
UNION ALL
SELECT
    CASE entity WHEN 'company' THEN 'api_company_entered_cohort' ELSE 'api_entered_cohort' END,
    concat_ws(' ', cohort, id, changed_at),
    CASE entity WHEN 'company' THEN id END,
    CASE entity WHEN 'user' THEN id END,
    changed_at,
    NULL,
    cohort
FROM marts.cohort_changes
WHERE change = 'entered'
