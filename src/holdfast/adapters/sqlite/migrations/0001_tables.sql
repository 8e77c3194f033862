-- The first schema. Times are microseconds since the epoch. No row refers across shards, and only the owner of a shard
-- writes its rows, but for what any process may leave: blobs, facts of the installation and records of the log.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE shards (
    shard INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL DEFAULT 0,
    owner TEXT NOT NULL DEFAULT '',
    last_batch INTEGER NOT NULL DEFAULT 0,
    published INTEGER NOT NULL DEFAULT 0
);

-- One row an incarnation. `place` numbers them in the order they began and stands for them in the tables below: what runs
-- now lies side by side there, whatever ids its callers chose, so that a commit touches few pages.
CREATE TABLE runs (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    workflow TEXT NOT NULL,
    version TEXT NOT NULL,
    status TEXT NOT NULL,
    attributes TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    parked TEXT,
    UNIQUE (run_id, incarnation)
);

-- The key is the law: a second writer of the same seq fails on it. The rows themselves lie in the order of commits, so
-- that a commit fills pages to the end instead of opening one of each run.
CREATE TABLE history (
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    type TEXT NOT NULL,
    data BLOB NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (run, seq)
);

-- Open attempts only, so few that the sweeper may look at all of them: an index would cost every step two writes more.
CREATE TABLE attempts (
    run INTEGER NOT NULL,
    step_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    sent_to TEXT,
    resend_at INTEGER NOT NULL,
    resends INTEGER NOT NULL,
    PRIMARY KEY (run, step_id)
) WITHOUT ROWID;

CREATE TABLE timers (
    run INTEGER NOT NULL,
    timer_id TEXT NOT NULL,
    shard INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    PRIMARY KEY (run, timer_id)
) WITHOUT ROWID;

CREATE INDEX timers_by_time ON timers (due_at, timer_id, shard);

CREATE TABLE signals (
    run_id TEXT NOT NULL,
    message_id TEXT NOT NULL,
    PRIMARY KEY (run_id, message_id)
) WITHOUT ROWID;

-- `place` keeps the order in which signals came.
CREATE TABLE inbox (
    place INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL,
    message_id TEXT NOT NULL,
    shard INTEGER NOT NULL,
    name TEXT NOT NULL,
    data BLOB NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (run_id, message_id)
);

-- One row a batch of a shard; `spans` is MessagePack.
CREATE TABLE outbox (
    shard INTEGER NOT NULL,
    number INTEGER NOT NULL,
    spans BLOB NOT NULL,
    PRIMARY KEY (shard, number)
) WITHOUT ROWID;

CREATE TABLE blobs (
    name TEXT PRIMARY KEY,
    data BLOB NOT NULL,
    at INTEGER NOT NULL
);

CREATE TABLE log_topics (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    partitions INTEGER NOT NULL
) WITHOUT ROWID;

-- `place` is the offset of the record: it rises in every partition, has gaps, and is never used again.
-- Records that were read and acknowledged are deleted, so whoever reads from the beginning finds what is still to do.
CREATE TABLE log_records (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    key BLOB,
    value BLOB NOT NULL,
    headers BLOB NOT NULL,
    at INTEGER NOT NULL
);
