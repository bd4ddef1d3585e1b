-- Users that were announced by an update and have not made a single API call.
SELECT user_id
FROM marts.user_profiles
WHERE events = 0
