-- Take the effect's row; the file's lock has kept others away. No row inserted: an earlier attempt is committed.
-- Carried by the primary key.
INSERT INTO holdfast_effects (effect_id, request_hash, result) VALUES (:effect_id, :request_hash, x'')
ON CONFLICT (effect_id) DO NOTHING;
