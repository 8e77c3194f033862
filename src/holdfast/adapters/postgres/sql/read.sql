-- What the engine and its clients ask. Rows are told apart by lists of keys; each statement is prepared.

-- read_shards: shard rows as their owner finds them. The lock waits for commits that are still on their way, so that the
-- last batch tells the truth even about one whose answer was lost. Carried by the primary key.
SELECT shard, epoch, owner, last_batch, published FROM shards
WHERE shard = ANY (%(shards)s) ORDER BY shard FOR SHARE;

-- read_outbox: a page of what is still to be published; trimming may lag behind `published`. Carried by the primary key.
SELECT o.shard, o.number, o.spans FROM outbox AS o JOIN shards AS s ON s.shard = o.shard AND o.number > s.published
WHERE (o.shard, o.number) > (%(shard)s::int8, %(number)s::int8) AND o.shard = ANY (%(shards)s)
ORDER BY o.shard, o.number LIMIT %(limit)s;

-- read_runs: run rows by their ids. Carried by the primary key.
SELECT run_id, incarnation, shard, workflow, version, status, attributes::text, started_at, ended_at, parked FROM runs
WHERE run_id = ANY (%(run_ids)s);

-- read_histories: the whole history of the present incarnation. A range of the primary key a run.
SELECT h.run_id, h.incarnation, h.seq, h.type, h.data, h.at
FROM runs AS r JOIN history AS h ON h.run_id = r.run_id AND h.incarnation = r.incarnation
WHERE r.run_id = ANY (%(run_ids)s) ORDER BY h.run_id, h.seq;

-- read_incarnation: the whole history of one incarnation. A range of the primary key.
SELECT run_id, incarnation, seq, type, data, at FROM history
WHERE run_id = %(run_id)s AND incarnation = %(incarnation)s ORDER BY seq;

-- existing_runs: which of these exist, or existed and were purged. Carried by the primary keys.
SELECT run_id FROM runs WHERE run_id = ANY (%(run_ids)s)
UNION ALL SELECT run_id FROM tombstones WHERE run_id = ANY (%(run_ids)s);

-- read_tombstones: what stays of purged runs. Carried by the primary key.
SELECT run_id, incarnation, input_hash, ended_at, purged_at FROM tombstones WHERE run_id = ANY (%(run_ids)s);

-- unsettled_runs: which are open or await something. Carried by the primary keys of runs and attempts, and effects_by_run.
SELECT r.run_id FROM runs AS r
WHERE r.run_id = ANY (%(run_ids)s) AND (
    r.ended_at IS NULL
    OR EXISTS (SELECT FROM attempts AS a WHERE a.run_id = r.run_id)
    OR EXISTS (
        SELECT FROM effects AS e WHERE e.run_id = r.run_id AND e.state NOT IN ('SUCCEEDED', 'FAILED', 'CANCELLED')
    )
);

-- read_inbox: signals before their run, as they came. Carried by the unique key (run_id, message_id).
SELECT run_id, message_id, shard, name, data, at FROM inbox WHERE run_id = ANY (%(run_ids)s) ORDER BY place;

-- expired_inbox: signals whose run did not come in time, by the primary key. The inbox is small.
SELECT run_id, message_id, shard, name, data, at FROM inbox
WHERE at < %(before)s AND shard = ANY (%(shards)s) ORDER BY place LIMIT %(limit)s;

-- seen_signals: which were taken before. Carried by the primary key.
SELECT s.run_id, s.message_id FROM unnest(%(run_ids)s, %(message_ids)s) AS p (run_id, message_id)
JOIN signals AS s ON s.run_id = p.run_id AND s.message_id = p.message_id;

-- due_timers: a page, carried by timers_by_time, which gives the order too.
SELECT run_id, incarnation, timer_id, shard, due_at FROM timers
WHERE due_at <= %(until)s AND due_at >= %(due_at)s AND shard = ANY (%(shards)s)
    AND (due_at, timer_id, run_id, incarnation)
        > (%(due_at)s::int8, %(timer_id)s::text, %(run_id)s::text, %(incarnation)s::int8)
ORDER BY due_at, timer_id, run_id, incarnation LIMIT %(limit)s;

-- open_attempts: a page of the attempts to be sent again, as many of each shard, each shard from its own place on. Carried by
-- attempts_by_shard.
SELECT a.* FROM unnest(%(shards)s, %(resend_ats)s, %(run_ids)s, %(incarnations)s, %(step_ids)s)
    AS s (shard, resend_at, run_id, incarnation, step_id)
CROSS JOIN LATERAL (
    SELECT a.run_id, a.incarnation, a.step_id, a.attempt, a.shard, a.sent_to, a.resend_at, a.resends FROM attempts AS a
    WHERE a.shard = s.shard AND a.resend_at <= %(until)s AND a.resend_at >= s.resend_at
        AND (a.resend_at, a.run_id, a.incarnation, a.step_id) > (s.resend_at, s.run_id, s.incarnation, s.step_id)
    ORDER BY a.resend_at, a.run_id, a.incarnation, a.step_id LIMIT %(limit)s
) AS a;

-- read_attempts: open attempts by their keys. Carried by the primary key.
SELECT a.run_id, a.incarnation, a.step_id, a.attempt, a.shard, a.sent_to, a.resend_at, a.resends
FROM unnest(%(run_ids)s, %(incarnations)s, %(step_ids)s) AS k (run_id, incarnation, step_id)
JOIN attempts AS a ON a.run_id = k.run_id AND a.incarnation = k.incarnation AND a.step_id = k.step_id;

-- list_runs: by run id. A running run without an open attempt is shown as SUSPENDED. Carried by the primary keys of runs
-- and attempts.
SELECT run_id, incarnation, shard, workflow, version, shown, attributes::text, started_at, ended_at, parked FROM (
    SELECT r.*, CASE
        WHEN r.status = 'RUNNING' AND NOT EXISTS (
            SELECT FROM attempts AS a WHERE a.run_id = r.run_id AND a.incarnation = r.incarnation
        ) THEN 'SUSPENDED' ELSE r.status
    END AS shown
    FROM runs AS r
    WHERE r.run_id > %(after)s AND (%(workflow)s::text IS NULL OR r.workflow = %(workflow)s::text)
) AS listed
WHERE %(status)s::text IS NULL OR shown = %(status)s::text ORDER BY run_id LIMIT %(limit)s;

-- history_between: stored events of a time range, for publishing them again; walks the primary key.
SELECT run_id, incarnation, seq, type, data, at FROM history
WHERE (run_id, incarnation, seq) > (%(run_id)s::text, %(incarnation)s::int8, %(last)s::int8)
    AND at >= %(since)s AND at < %(until)s AND (cardinality(%(types)s) = 0 OR type = ANY (%(types)s))
ORDER BY run_id, incarnation, seq LIMIT %(limit)s;

-- read_blobs: large payloads by name. Carried by the primary key.
SELECT name, data FROM blobs WHERE name = ANY (%(names)s);

-- read_meta: the facts of the installation.
SELECT key, value FROM meta;

-- read_clock: the store's clock in microseconds.
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8;

-- read_mark: rises with every commit of anybody. The table is one row a shard.
SELECT 1 + coalesce(sum(last_batch), 0)::int8 FROM shards;
