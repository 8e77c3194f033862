-- What an earlier attempt has committed. Carried by the primary key.
SELECT request_hash, result FROM holdfast_effects WHERE effect_id = :effect_id;
