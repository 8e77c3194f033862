-- safe from 5
-- What came in for runs that their owner could not read: kept for a newer process. A new table alone, which a process of the
-- older version neither reads nor writes. It is nearly always empty.
CREATE TABLE deferred (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    shard INTEGER NOT NULL,
    run_id TEXT NOT NULL,
    identity TEXT NOT NULL,
    data BLOB NOT NULL,
    reason TEXT NOT NULL,
    release TEXT NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (shard, run_id, identity)
);
