-- Record the result in the row of this very transaction, which may be committed from here on. Carried by the primary key.
UPDATE {schema}.holdfast_effects SET result = %(result)s, uncommitted = NULL
WHERE effect_id = %(effect_id)s AND uncommitted IS NOT NULL;
