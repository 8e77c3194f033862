-- safe from 1
-- Proofs that came after their effect was closed otherwise: few, and to be found among all moves by whoever looks after
-- the installation. An index alone: an older process goes on writing as before.
CREATE INDEX effect_conflicts ON effect_moves (effect_id) WHERE what = 'conflict';
