-- Take the effect's row, or wait for whoever has it: no row inserted means that an earlier attempt is committed.
-- Carried by the primary key. `uncommitted` refers to an effect that does not exist, so that nobody can commit it so.
INSERT INTO {schema}.holdfast_effects (effect_id, request_hash, result, uncommitted)
VALUES (%(effect_id)s, %(request_hash)s, '', 'until Holdfast commits it')
ON CONFLICT (effect_id) DO NOTHING;
