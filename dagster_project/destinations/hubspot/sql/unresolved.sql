-- The keys of an object type whose record is to be asked for.
SELECT key
FROM (FROM plan_profiles WHERE object = ? AND rank = 1 AND key IS NOT NULL AND problem IS NULL AND NOT is_free_mail)
ANTI JOIN plan_refused_before USING (object, key)
ANTI JOIN (SELECT object, key FROM plan_matches WHERE source < 3) USING (object, key)
