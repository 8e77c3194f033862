-- Record the result in the row of this very transaction. Carried by the primary key.
UPDATE holdfast_effects SET result = :result WHERE effect_id = :effect_id;
