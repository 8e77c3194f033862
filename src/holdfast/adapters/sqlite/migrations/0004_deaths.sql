-- safe from 1
-- Processes that ended while they had a run's turn (no step) or an attempt in hand. A new table alone, which a process of the
-- older version neither reads nor writes. It is nearly always empty.
CREATE TABLE deaths (
    run_id TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    step_id TEXT NOT NULL,
    process TEXT NOT NULL,
    shard INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (run_id, incarnation, step_id, process)
) WITHOUT ROWID;
