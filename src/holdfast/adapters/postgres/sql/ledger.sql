-- The ledger. {effect_columns} stands for the text of that name.
--
-- Law: effect rows are locked before shard rows, each kind in the order of its key. Whoever asks locks effect rows alone; a
-- commit that asks locks them in a statement of its own, before the fence; one that only plans locks no row that there is.
-- Law: the clock is read after the locks were got, so that no move is decided at a time before the one that it follows.

-- effect_columns: an effect as adapters/ledger.py lays it out.
effect_id, run_id, incarnation, step_id, shard, name, key, request_hash, planned_at,
guard, terms, state, version, fence, attempt, owner, lease_until, sender,
request, first_sent_at, last_sent_at, asked_at, unclear, repeats, sender_gone,
result, error, reason, resolved_by;

-- begin_moves: whoever waited for a row sees it as the other one left it, whatever the server's default is.
BEGIN ISOLATION LEVEL READ COMMITTED;

-- lock_effects: rows that are to be decided on. Carried by the primary key.
SELECT {effect_columns} FROM effects WHERE effect_id = ANY (%(effect_ids)s) ORDER BY effect_id FOR UPDATE;

-- alone: the parts `effects` and `story` of commit.sql outside a commit, where nothing is fenced; ends with `nothing`.
WITH gate AS (SELECT true AS open)

-- nothing: no row.
SELECT NULL::int8 WHERE false

-- read_effects: rows as they stand, each with the clock. Carried by the primary key.
SELECT {effect_columns}, (extract(epoch FROM clock_timestamp()) * 1000000)::int8 FROM effects
WHERE effect_id = ANY (%(effect_ids)s);

-- read_effect: one row. Carried by the primary key.
SELECT {effect_columns} FROM effects WHERE effect_id = %(effect_id)s;

-- moves_of_effect: all moves of one effect, in order. Carried by the primary key.
SELECT effect_id, move FROM effect_moves WHERE effect_id = %(effect_id)s ORDER BY version;

-- effects_of_run: in the order they were planned. Carried by effects_by_run.
SELECT {effect_columns} FROM effects WHERE run_id = %(run_id)s ORDER BY place;

-- moves_of_run: all moves of a run's effects, of each in order. Carried by effects_by_run and the primary key.
SELECT m.effect_id, m.move FROM effects AS e JOIN effect_moves AS m ON m.effect_id = e.effect_id
WHERE e.run_id = %(run_id)s ORDER BY m.effect_id, m.version;

-- list_effects: by effect id, which the primary key gives.
SELECT {effect_columns} FROM effects
WHERE effect_id > %(after)s AND (%(name)s::text IS NULL OR name = %(name)s::text)
    AND (cardinality(%(states)s) = 0 OR state = ANY (%(states)s))
ORDER BY effect_id LIMIT %(limit)s;

-- list_waiting_effects: the same, of those that wait for a question or a person. Carried by effects_waiting.
SELECT {effect_columns} FROM effects
WHERE state IN ('IN_DOUBT', 'PARKED')
    AND effect_id > %(after)s AND (%(name)s::text IS NULL OR name = %(name)s::text) AND state = ANY (%(states)s)
ORDER BY effect_id LIMIT %(limit)s;

-- list_conflicts: those with a proof that came too late to be their state. Carried by effect_conflicts.
SELECT {effect_columns} FROM effects
WHERE effect_id IN (SELECT effect_id FROM effect_moves WHERE what = 'conflict') AND effect_id > %(after)s::text
ORDER BY effect_id LIMIT %(limit)s;

-- lapsed_effects: held ones whose lease is over. Carried by effects_held.
SELECT {effect_columns} FROM effects
WHERE state IN ('CLAIMED', 'INFLIGHT', 'RECONCILING') AND shard = ANY (%(shards)s)
    AND lease_until <= (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8)
ORDER BY lease_until, place LIMIT %(limit)s;

-- register_process: a process that is known stays as it is.
INSERT INTO processes (process, host, pid, started, gone, at)
VALUES (
    %(process)s, %(host)s, %(pid)s, %(started)s, %(gone)s, (extract(epoch FROM clock_timestamp()) * 1000000)::int8
)
ON CONFLICT (process) DO NOTHING;

-- deregister_process: the first word stays. Carried by the primary key.
UPDATE processes SET gone = %(gone)s WHERE process = %(process)s AND gone = '';

-- read_processes: what is known of them. Carried by the primary key.
SELECT process, host, pid, started, gone FROM processes WHERE process = ANY (%(names)s);
