-- Contacts that are sent, with the record of their user's company (also where another profile of that key is sent).
CREATE OR REPLACE TEMP TABLE plan_associations AS
SELECT DISTINCT c.key AS contact_key, c.hubspot_id AS contact_id, m.key AS company_key, m.hubspot_id AS company_id
FROM plan_user_companies u
JOIN plan_sendable c ON c.object = 'contacts' AND c.id = u.user_id
JOIN plan_profiles p ON p.object = 'companies' AND p.id = u.company_id
JOIN plan_sendable m ON m.object = 'companies' AND m.key = p.key
WHERE NOT EXISTS (
    FROM ops.hubspot_associations a
    WHERE a.portal_id IS NOT DISTINCT FROM $portal_id AND a.contact_key = c.key AND a.company_key = m.key
      AND a.contact_id = coalesce(c.hubspot_id, a.contact_id) AND a.company_id = coalesce(m.hubspot_id, a.company_id));
