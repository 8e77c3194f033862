-- safe from 1
-- The effect ledger. New tables alone, which a process of the older version neither reads nor writes.

-- One row an effect. `place` keeps the order in which effects were planned. `terms`, `result`, `error` are MessagePack,
-- since jsonb refuses some of what a provider may say.
CREATE TABLE effects (
    effect_id text COLLATE "C" PRIMARY KEY,
    run_id text COLLATE "C" NOT NULL,
    incarnation int4 NOT NULL,
    step_id text COLLATE "C" NOT NULL,
    shard int4 NOT NULL,
    name text NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    planned_at int8 NOT NULL,
    guard text NOT NULL,
    terms bytea NOT NULL,
    state text NOT NULL,
    version int4 NOT NULL,
    fence int8 NOT NULL,
    attempt int4 NOT NULL,
    owner text NOT NULL,
    lease_until int8 NOT NULL,
    sender text NOT NULL,
    request bytea,
    first_sent_at int8,
    last_sent_at int8,
    asked_at int8,
    unclear bool NOT NULL,
    repeats bool NOT NULL,
    sender_gone text NOT NULL,
    result bytea,
    error bytea,
    reason text NOT NULL,
    resolved_by text NOT NULL,
    place int8 GENERATED ALWAYS AS IDENTITY
);

CREATE INDEX effects_by_run ON effects (run_id);

-- Who may have died while holding one: few rows, whatever the ledger has grown to.
CREATE INDEX effects_held ON effects (lease_until, shard) WHERE state IN ('CLAIMED', 'INFLIGHT', 'RECONCILING');

-- What waits for a question or a person.
CREATE INDEX effects_waiting ON effects (effect_id) WHERE state IN ('IN_DOUBT', 'PARKED');

-- The story of each effect, for ever. `move` is all of the move, as MessagePack.
CREATE TABLE effect_moves (
    effect_id text COLLATE "C" NOT NULL,
    version int4 NOT NULL,
    at int8 NOT NULL,
    what text NOT NULL,
    who text NOT NULL,
    was text NOT NULL,
    "to" text NOT NULL,
    move bytea NOT NULL,
    PRIMARY KEY (effect_id, version)
);

-- Processes that may send. `gone` says how the end of one is known; `at` is when it registered.
CREATE TABLE processes (
    process text COLLATE "C" PRIMARY KEY,
    host text NOT NULL,
    pid int8 NOT NULL,
    started text NOT NULL,
    gone text NOT NULL,
    at int8 NOT NULL
);
