-- The first schema. Times are microseconds since the epoch, by the server's clock where the store decides. Text that is
-- part of a key sorts by its bytes, as the embedded store's does. No row refers across shards, and only the owner of a
-- shard writes its rows, but for what any process may leave: blobs and facts of the installation.

CREATE TABLE meta (
    key text COLLATE "C" PRIMARY KEY,
    value text NOT NULL
);

-- Every commit moves its shards' rows: half of each page is kept free, so that the new version finds room beside the old
-- one and no index is touched (HOT).
CREATE TABLE shards (
    shard int4 PRIMARY KEY,
    epoch int8 NOT NULL DEFAULT 0,
    owner text NOT NULL DEFAULT '',
    last_batch int8 NOT NULL DEFAULT 0,
    published int8 NOT NULL DEFAULT 0
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_scale_factor = 0);

-- One row a run id: its present incarnation. A run's row changes once or twice in its life, and no index bears on what
-- changes.
CREATE TABLE runs (
    run_id text COLLATE "C" PRIMARY KEY,
    incarnation int4 NOT NULL,
    shard int4 NOT NULL,
    workflow text NOT NULL,
    version text NOT NULL,
    status text NOT NULL,
    attributes jsonb NOT NULL,
    started_at int8 NOT NULL,
    ended_at int8,
    parked text
) WITH (fillfactor = 80);

-- The key is the law: a second writer of the same seq fails on it.
CREATE TABLE history (
    run_id text COLLATE "C" NOT NULL,
    incarnation int4 NOT NULL,
    seq int4 NOT NULL,
    type text NOT NULL,
    data bytea NOT NULL,
    at int8 NOT NULL,
    PRIMARY KEY (run_id, incarnation, seq)
);

-- Open attempts only: rows live shortly, so the table is vacuumed by their number and not by its size.
CREATE TABLE attempts (
    run_id text COLLATE "C" NOT NULL,
    incarnation int4 NOT NULL,
    step_id text COLLATE "C" NOT NULL,
    attempt int4 NOT NULL,
    shard int4 NOT NULL,
    sent_to text,
    resend_at int8 NOT NULL,
    resends int4 NOT NULL,
    PRIMARY KEY (run_id, incarnation, step_id)
) WITH (autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX attempts_by_shard ON attempts (shard, resend_at);

CREATE TABLE timers (
    run_id text COLLATE "C" NOT NULL,
    incarnation int4 NOT NULL,
    timer_id text COLLATE "C" NOT NULL,
    shard int4 NOT NULL,
    due_at int8 NOT NULL,
    PRIMARY KEY (run_id, incarnation, timer_id)
) WITH (autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX timers_by_time ON timers (due_at, timer_id, shard);

CREATE TABLE signals (
    run_id text COLLATE "C" NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (run_id, message_id)
);

-- `place` keeps the order in which signals came.
CREATE TABLE inbox (
    place int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id text COLLATE "C" NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    shard int4 NOT NULL,
    name text NOT NULL,
    data bytea NOT NULL,
    at int8 NOT NULL,
    UNIQUE (run_id, message_id)
);

-- One row a batch of a shard; `spans` is MessagePack. It lives until it was published.
CREATE TABLE outbox (
    shard int4 NOT NULL,
    number int8 NOT NULL,
    spans bytea NOT NULL,
    PRIMARY KEY (shard, number)
) WITH (autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_scale_factor = 0.05);

CREATE TABLE blobs (
    name text COLLATE "C" PRIMARY KEY,
    data bytea NOT NULL,
    at int8 NOT NULL
);

ALTER TABLE blobs ALTER COLUMN data SET STORAGE EXTERNAL;

-- What stays of a purged run, so that its id is not new again.
CREATE TABLE tombstones (
    run_id text COLLATE "C" PRIMARY KEY,
    incarnation int4 NOT NULL,
    input_hash bytea NOT NULL,
    ended_at int8 NOT NULL
);
