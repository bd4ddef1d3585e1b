-- Companies that signed up and have not made a single API call.
SELECT company_id
FROM marts.company_profiles
WHERE events = 0
