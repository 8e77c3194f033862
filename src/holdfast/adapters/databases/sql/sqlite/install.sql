-- The ledger's part of an author's database. A row is written in the transaction of the effect that it stands for.
CREATE TABLE holdfast_effects (
    effect_id TEXT PRIMARY KEY NOT NULL,
    request_hash BLOB NOT NULL,
    result BLOB NOT NULL,
    at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
