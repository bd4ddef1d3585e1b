-- Ids that look like ids of the other kind: a client that fills company_id with its users, or user_id with its companies.
-- Only where at least one in a hundred does. An account of one person, whose company and user have one id, is meant so.
-- grain: kind, prefix
-- columns:
--   kind    VARCHAR  company_emails, company_users, company_prefix, user_companies or user_prefix
--   prefix  VARCHAR  with what the ids begin, such as usr; '' where that is not what is doubtful
--   ids     BIGINT   how many
--   total   BIGINT   of how many of their kind
WITH sizes AS (
    SELECT
        CAST((SELECT count(*) FROM core.company_profiles) AS BIGINT) AS companies,
        CAST((SELECT count(*) FROM core.user_profiles) AS BIGINT) AS users
), both_kinds AS (
    -- Short numbers are counted up for each kind by itself: they meet by chance.
    SELECT c.company_id AS id, c.users, u.company_id AS belongs_to
    FROM core.company_profiles AS c JOIN core.user_profiles AS u ON u.user_id = c.company_id
    WHERE TRY_CAST(c.company_id AS BIGINT) IS NULL
), one_person AS (
    SELECT DISTINCT b.id
    FROM both_kinds AS b JOIN core.attributed_usage_daily AS d ON d.company_id = b.id AND d.user_id = b.id
    WHERE b.users <= 1
    UNION
    SELECT id FROM both_kinds WHERE belongs_to = id AND users <= 1
), mistaken AS (
    SELECT b.id, coalesce(b.belongs_to <> b.id, false) AND b.users <= 1 AS is_user
    FROM both_kinds AS b LEFT JOIN one_person AS o ON o.id = b.id
    WHERE o.id IS NULL
), beginnings AS (
    SELECT 'company' AS entity, split_part(company_id, '_', 1) AS prefix
    FROM core.company_profiles WHERE company_id LIKE '%\__%' ESCAPE '\'
    UNION ALL
    SELECT 'user' AS entity, split_part(user_id, '_', 1) AS prefix
    FROM core.user_profiles WHERE user_id LIKE '%\__%' ESCAPE '\'
), prefixes AS (
    SELECT
        lower(b.prefix) AS prefix,
        count(*) FILTER (b.entity = 'company') AS companies,
        count(*) FILTER (b.entity = 'user') AS users
    FROM beginnings AS b GROUP BY 1
), found AS (
    SELECT 'company_emails' AS kind, '' AS prefix, count(*) AS ids FROM core.company_profiles
    WHERE contains(company_id, '@') AND regexp_full_match(company_id, '[^@\s]+@[^@\s]+\.[^@\s.]+')
    UNION ALL
    SELECT CASE WHEN is_user THEN 'company_users' ELSE 'user_companies' END AS kind, '' AS prefix, count(*) AS ids
    FROM mistaken GROUP BY 1
    UNION ALL
    -- What most users begin with and most companies do not; or what says so itself.
    SELECT 'company_prefix' AS kind, p.prefix, p.companies AS ids
    FROM prefixes AS p CROSS JOIN sizes AS s
    WHERE p.prefix IN ('user', 'users', 'usr')
        OR (p.users >= 5 AND p.users * 2 > s.users AND p.companies * 2 < s.companies
            AND regexp_full_match(p.prefix, '[a-z]{1,12}'))
    UNION ALL
    SELECT 'user_prefix' AS kind, p.prefix, p.users AS ids
    FROM prefixes AS p CROSS JOIN sizes AS s
    WHERE p.prefix IN ('company', 'comp', 'org', 'organization')
        OR (p.companies >= 5 AND p.companies * 2 > s.companies AND p.users * 2 < s.users
            AND regexp_full_match(p.prefix, '[a-z]{1,12}'))
)
SELECT f.kind, f.prefix, CAST(f.ids AS BIGINT) AS ids, of_kind.total
FROM found AS f
CROSS JOIN sizes AS s
CROSS JOIN LATERAL (SELECT CASE WHEN f.kind LIKE 'company%' THEN s.companies ELSE s.users END AS total) AS of_kind
WHERE f.ids > 0
    AND f.ids * 100 >= CASE WHEN f.kind IN ('company_users', 'user_companies') THEN least(s.companies, s.users)
        ELSE of_kind.total END
