-- What is written outside a commit.

-- has_schema: one row if anything was installed in this file.
SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'meta';

-- make_shards: shard rows, at installation.
INSERT INTO shards (shard)
VALUES (?) /* more */;

-- take_shards: a new owner; earlier epochs can no longer commit.
UPDATE shards SET epoch = epoch + 1, owner = ? WHERE shard IN (? /* more */);

-- set_meta: facts of the installation.
INSERT OR REPLACE INTO meta (key, value)
VALUES (?, ?) /* more */;

-- put_blobs: a name kept before is left as it is.
INSERT OR IGNORE INTO blobs (name, data, at)
VALUES (?, ?, ?) /* more */;
