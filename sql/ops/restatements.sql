-- Which days' usage moved from one company to another because of claims that arrived after it.
-- grain: run, day, company_id_before, company_id_after
-- rebuild: append
-- erases:
--   company: company_id_before
--   company: company_id_after
-- columns:
--   run                VARCHAR  the run that found it (Dagster's run id)
--   day                DATE     GMT day of the usage
--   company_id_before  VARCHAR  where it counted until that run, null: nowhere
--   company_id_after   VARCHAR  where it counts since, null: nowhere
--   calls              BIGINT   calls that moved
--   reason             VARCHAR  what the new claim is of: token, token_user, user or anonymous
SELECT
    $run_id AS run,
    b.day,
    nullif(b.company_id, '') AS company_id_before,
    nullif(a.company_id, '') AS company_id_after,
    saturating_sum(b.calls) AS calls,
    min(a.attributed_via) AS reason
FROM core.attribution_before AS b
JOIN core.attribution AS a
    ON a.day = b.day AND a.own_company_id = b.own_company_id AND a.own_user_id = b.own_user_id
    AND a.session_token = b.session_token AND a.anonymous_id = b.anonymous_id
WHERE a.company_id <> b.company_id
GROUP BY 1, 2, 3, 4
