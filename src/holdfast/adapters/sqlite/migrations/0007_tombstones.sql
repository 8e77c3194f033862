-- safe from 1
-- What stays of a purged run, so that its id is not new again. The trigger holds the law for a process of the older version
-- too, which does not know of tombstones: its commit is refused as one of bad data.
CREATE TABLE tombstones (
    run_id TEXT PRIMARY KEY,
    incarnation INTEGER NOT NULL,
    input_hash BLOB NOT NULL,
    ended_at INTEGER NOT NULL,
    purged_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TRIGGER runs_are_not_purged BEFORE INSERT ON runs
WHEN EXISTS (SELECT 1 FROM tombstones WHERE run_id = NEW.run_id)
BEGIN
    SELECT RAISE(ABORT, 'this run was purged, and its id is not new again');
END;
