-- safe from 5
-- What came in for runs that their owner could not read: kept for a newer process. A new table alone, which a process of the
-- older version neither reads nor writes. It is nearly always empty.
CREATE TABLE deferred (
    place int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shard int4 NOT NULL,
    run_id text COLLATE "C" NOT NULL,
    identity text COLLATE "C" NOT NULL,
    data bytea NOT NULL,
    reason text NOT NULL,
    release text NOT NULL,
    at int8 NOT NULL,
    UNIQUE (shard, run_id, identity)
);
