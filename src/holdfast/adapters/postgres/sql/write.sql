-- What is written outside a commit, and what a session begins with.

-- begin_session: names the schema, and keeps the prepared statements' plans: all of them go by index, whatever the statistics
-- of a young table say, and are never planned again for one call. Answers wait for the disk even if the server's default
-- does not.
SELECT
    set_config('search_path', quote_ident(%(namespace)s), false),
    set_config('plan_cache_mode', 'force_generic_plan', false),
    set_config('enable_seqscan', 'off', false),
    set_config('enable_hashjoin', 'off', false),
    set_config('enable_mergejoin', 'off', false),
    set_config('jit', 'off', false),
    set_config('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'on'), false);

-- begin_snapshot: several questions about one state.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;

-- end_transaction: of several questions, or of moves.
COMMIT;

-- take_shards: a new owner; earlier epochs can no longer commit. Rows are locked in shard order, as commits do. Carried by
-- the primary key.
WITH locked AS (
    SELECT shard FROM shards WHERE shard = ANY (%(shards)s) ORDER BY shard FOR NO KEY UPDATE
)
UPDATE shards AS s SET epoch = s.epoch + 1, owner = %(owner)s FROM locked WHERE s.shard = locked.shard
RETURNING s.shard, s.epoch, s.owner, s.last_batch, s.published;

-- set_meta: facts of the installation.
INSERT INTO meta (key, value) SELECT * FROM unnest(%(keys)s, %(values)s)
ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- put_blobs: a name kept before is left as it is.
INSERT INTO blobs (name, data, at)
SELECT n, d, (extract(epoch FROM clock_timestamp()) * 1000000)::int8 FROM unnest(%(names)s, %(blobs)s) AS b (n, d)
ON CONFLICT (name) DO NOTHING;

-- lock_installation: one installation of a namespace at a time.
SELECT pg_advisory_lock(%(key)s);

-- find_schema: whether the schema is there.
SELECT 1 FROM pg_namespace WHERE nspname = %(namespace)s;

-- find_tables: whether anything was installed in it.
SELECT 1 FROM pg_class WHERE oid = to_regclass('meta');

-- make_shards: shard rows, at installation.
INSERT INTO shards (shard) SELECT * FROM generate_series(0, %(shards)s - 1);
