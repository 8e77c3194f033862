-- safe from 1
-- The effect ledger. New tables alone, which a process of the older version neither reads nor writes.

-- One row an effect. `place` numbers them in the order they were planned. `terms`, `result`, `error` are MessagePack.
CREATE TABLE effects (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    effect_id TEXT NOT NULL UNIQUE,
    run_id TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    step_id TEXT NOT NULL,
    shard INTEGER NOT NULL,
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    request_hash BLOB NOT NULL,
    planned_at INTEGER NOT NULL,
    guard TEXT NOT NULL,
    terms BLOB NOT NULL,
    state TEXT NOT NULL,
    version INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    owner TEXT NOT NULL,
    lease_until INTEGER NOT NULL,
    sender TEXT NOT NULL,
    request BLOB,
    first_sent_at INTEGER,
    last_sent_at INTEGER,
    asked_at INTEGER,
    unclear INTEGER NOT NULL,
    repeats INTEGER NOT NULL,
    sender_gone TEXT NOT NULL,
    result BLOB,
    error BLOB,
    reason TEXT NOT NULL,
    resolved_by TEXT NOT NULL
);

CREATE INDEX effects_by_run ON effects (run_id);

-- Who may have died while holding one: few rows, whatever the ledger has grown to.
CREATE INDEX effects_held ON effects (lease_until, shard) WHERE state IN ('CLAIMED', 'INFLIGHT', 'RECONCILING');

-- What waits for a question or a person.
CREATE INDEX effects_waiting ON effects (effect_id) WHERE state IN ('IN_DOUBT', 'PARKED');

-- The story of each effect, for ever. `effect` is its place; `move` is all of the move, as MessagePack.
CREATE TABLE effect_moves (
    effect INTEGER NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    what TEXT NOT NULL,
    who TEXT NOT NULL,
    was TEXT NOT NULL,
    "to" TEXT NOT NULL,
    move BLOB NOT NULL,
    PRIMARY KEY (effect, version)
);

-- Processes that may send. `gone` says how the end of one is known; `at` is when it registered.
CREATE TABLE processes (
    process TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started TEXT NOT NULL,
    gone TEXT NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID;
