-- Which tokens do several companies claim, and where did their calls go?
SELECT a.session_token, a.company_id, a.claimed_at, a.claims, a.calls, a.first_seen_at, a.last_seen_at
FROM marts.alias_conflicts AS c
JOIN marts.company_aliases AS a USING (session_token)
ORDER BY a.session_token, a.claimed_at, a.company_id;
