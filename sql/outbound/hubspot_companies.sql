-- What HubSpot's companies are told. This SELECT is the mapping: edit it, then look at `warehouse plan`.
--
-- company_id, last_seen_at  which profile a row is; never sent
-- domain                    finds the company in HubSpot; sent only when a company is made
-- every other column        one property, named as in HubSpot. Add a column, and `warehouse hubspot-init --live`
--                           makes its property; take one away, and HubSpot keeps what it was last told.
--
-- Types: text to text, number to number, boolean to checkbox, DATE to date, TIMESTAMP to date and time (or text),
-- text or a list to the options of a selection. A number for a text property must be cast here. Null is never sent.
-- The query runs as it stands in analytics.duckdb; a WHERE at its end chooses who is pushed at all.
SELECT
    company_id,
    last_seen_at,
    company_domain AS domain,
    company_id AS api_company_id,
    calls_30d AS api_calls_30d,
    calls_7d AS api_calls_7d,
    calls_24h AS api_calls_24h,
    calls AS api_calls,
    errors_4xx AS api_errors_4xx,
    errors_5xx AS api_errors_5xx,
    blocked_calls AS api_blocked_calls,
    users AS api_users,
    latency_p90_ms_7d AS api_latency_p90_ms_7d,
    active_days_30d AS api_active_days_30d,
    feature_total_30d AS api_feature_total_30d,
    features_used_30d AS api_features_used_30d,
    CAST(first_seen_at AS DATE) AS api_first_seen_date,
    last_seen_at AS api_last_seen_at,
    created_at AS api_signed_up_at,
    h.health_score AS api_health_score,
    h.health AS api_health,
    list_contains(cohorts, 'near_quota') AS api_near_quota,
    cohorts AS api_cohorts
FROM marts.company_profiles AS p
-- Of its own: without sql/health/company.sql the profiles have no such columns, and it has no rows.
LEFT JOIN core.company_health AS h USING (company_id)
