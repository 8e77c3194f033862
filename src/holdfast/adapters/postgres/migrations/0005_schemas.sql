-- safe from 1
-- The schemas that records were written with, by the fingerprint in their headers: so that a process reads what one of another
-- release wrote. A new table alone, which a process of the older version neither reads nor writes.
CREATE TABLE writer_schemas (
    fingerprint bytea PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    text text NOT NULL,
    release text NOT NULL
);
