-- safe from 1
-- The schemas that records were written with, by the fingerprint in their headers: so that a process reads what one of another
-- release wrote. A new table alone, which a process of the older version neither reads nor writes.
CREATE TABLE writer_schemas (
    fingerprint BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    text TEXT NOT NULL,
    release TEXT NOT NULL
) WITHOUT ROWID;
