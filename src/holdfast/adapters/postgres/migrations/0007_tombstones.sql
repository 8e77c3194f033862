-- safe from 1
-- When a run was purged. The column has a default, so that nothing that is there is touched. The table was made with the
-- first schema; a process of the older version does not ask it. So the first purge keeps such processes out from then on.
ALTER TABLE tombstones ADD COLUMN purged_at int8 NOT NULL DEFAULT 0;
