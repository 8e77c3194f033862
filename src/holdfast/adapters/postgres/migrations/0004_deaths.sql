-- safe from 1
-- Processes that ended while they had a run's turn (no step) or an attempt in hand. A new table alone, which a process of the
-- older version neither reads nor writes. It is nearly always empty.
CREATE TABLE deaths (
    run_id text COLLATE "C" NOT NULL,
    incarnation int4 NOT NULL,
    step_id text COLLATE "C" NOT NULL,
    process text COLLATE "C" NOT NULL,
    shard int4 NOT NULL,
    seq int8 NOT NULL,
    attempt int4 NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    at int8 NOT NULL,
    PRIMARY KEY (run_id, incarnation, step_id, process)
);
