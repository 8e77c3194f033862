-- What the engine and its clients ask. Rows are told apart by lists of keys; each statement is prepared.

-- read_shards: shard rows as their owner finds them. The lock waits for commits that are still on their way, so that the
-- last batch tells the truth even about one whose answer was lost. Carried by the primary key.
SELECT shard, epoch, owner, last_batch, published FROM shards
WHERE shard = ANY (%(shards)s) ORDER BY shard FOR SHARE;

-- read_outbox: what is still to be published; trimming may lag behind `published`. A range of the primary key a shard.
SELECT o.shard, o.number, o.spans FROM shards AS s JOIN outbox AS o ON o.shard = s.shard AND o.number > s.published
WHERE s.shard = ANY (%(shards)s) ORDER BY o.shard, o.number;

-- read_runs: run rows by their ids. Carried by the primary key.
SELECT run_id, incarnation, shard, workflow, version, status, attributes::text, started_at, ended_at, parked FROM runs
WHERE run_id = ANY (%(run_ids)s);

-- read_histories: the whole history of the present incarnation. A range of the primary key a run.
SELECT h.run_id, h.incarnation, h.seq, h.type, h.data, h.at
FROM runs AS r JOIN history AS h ON h.run_id = r.run_id AND h.incarnation = r.incarnation
WHERE r.run_id = ANY (%(run_ids)s) ORDER BY h.run_id, h.seq;

-- existing_runs: which of these exist. Carried by the primary key.
SELECT run_id FROM runs WHERE run_id = ANY (%(run_ids)s);

-- read_inbox: signals before their run, as they came. Carried by the unique key (run_id, message_id).
SELECT run_id, message_id, shard, name, data, at FROM inbox WHERE run_id = ANY (%(run_ids)s) ORDER BY place;

-- expired_inbox: signals whose run did not come in time, by the primary key. The inbox is small.
SELECT run_id, message_id, shard, name, data, at FROM inbox
WHERE at < %(before)s AND shard = ANY (%(shards)s) ORDER BY place LIMIT %(limit)s;

-- seen_signals: which were taken before. Carried by the primary key.
SELECT s.run_id, s.message_id FROM unnest(%(run_ids)s, %(message_ids)s) AS p (run_id, message_id)
JOIN signals AS s ON s.run_id = p.run_id AND s.message_id = p.message_id;

-- due_timers: carried by timers_by_time, which gives the order too.
SELECT run_id, incarnation, timer_id, shard, due_at FROM timers
WHERE due_at <= %(until)s AND shard = ANY (%(shards)s) ORDER BY due_at, timer_id LIMIT %(limit)s;

-- due_attempts: attempts to be sent again. Carried by attempts_by_shard.
SELECT run_id, incarnation, step_id, attempt, shard, sent_to, resend_at, resends FROM attempts
WHERE shard = ANY (%(shards)s) AND resend_at <= %(until)s ORDER BY resend_at, run_id, step_id LIMIT %(limit)s;

-- due_or_foreign_attempts: also those handed in memory to any other process; asked when a shard was taken. Carried by
-- attempts_by_shard.
SELECT run_id, incarnation, step_id, attempt, shard, sent_to, resend_at, resends FROM attempts
WHERE shard = ANY (%(shards)s) AND (resend_at <= %(until)s OR sent_to <> %(not_sent_to)s)
ORDER BY resend_at, run_id, step_id LIMIT %(limit)s;

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
