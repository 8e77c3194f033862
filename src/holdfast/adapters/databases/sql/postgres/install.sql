-- The ledger's part of an author's database. A row is written in the transaction of the effect that it stands for.
-- The reference is looked at when the transaction is committed, and points to nothing until Holdfast has recorded the
-- result: the database itself refuses a commit by anybody else. The index is empty, and makes deleting old rows cheap.
CREATE TABLE holdfast_effects (
    effect_id text PRIMARY KEY,
    request_hash bytea NOT NULL,
    result bytea NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    uncommitted text CONSTRAINT committed_by_holdfast_alone
        REFERENCES holdfast_effects (effect_id) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX holdfast_effects_uncommitted ON holdfast_effects (uncommitted) WHERE uncommitted IS NOT NULL;
