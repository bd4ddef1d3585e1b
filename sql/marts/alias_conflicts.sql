-- Tokens that several companies claim. Each day's usage goes to the last claim made on or before it.
-- grain: session_token
-- columns:
--   session_token  VARCHAR    the token
--   company_ids    VARCHAR[]  the companies that claim it, sorted
SELECT session_token, list_sort(list(company_id)) AS company_ids
FROM marts.company_aliases
WHERE claims > 0
GROUP BY 1
HAVING count(*) > 1
