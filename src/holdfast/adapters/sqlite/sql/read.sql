-- What the engine and its clients ask. What is marked "more" or "or" is widened; it may name a value twice.

-- read_shards: shard rows as their owner finds them.
SELECT shard, epoch, owner, last_batch, published FROM shards WHERE shard IN (? /* more */);

-- read_outbox: a page of what is still to be published; `published` may be ahead of the trimming. Walks the primary key.
SELECT o.shard, o.number, o.spans FROM outbox AS o CROSS JOIN shards AS s ON s.shard = o.shard
WHERE (o.shard, o.number) > (?, ?) AND o.number > s.published AND o.shard IN (? /* more */)
ORDER BY o.shard, o.number LIMIT ?;

-- read_runs: the present incarnations of runs.
SELECT run_id, max(incarnation), shard, workflow, version, status, attributes, started_at, ended_at, parked, place
FROM runs WHERE run_id IN (? /* more */) GROUP BY run_id;

-- read_histories: the whole history of incarnations. A range of the primary key each.
SELECT run, seq, type, data, at FROM history WHERE run IN (? /* more */) ORDER BY run, seq;

-- read_incarnation: the whole history of one incarnation. Carried by the unique key of runs and the primary key.
SELECT h.seq, h.type, h.data, h.at FROM runs AS r CROSS JOIN history AS h ON h.run = r.place
WHERE r.run_id = :run_id AND r.incarnation = :incarnation ORDER BY h.seq;

-- existing_runs: which of these exist.
SELECT DISTINCT run_id FROM runs WHERE run_id IN (? /* more */);

-- read_inbox: signals before their run, as they came.
SELECT run_id, message_id, shard, name, data, at FROM inbox WHERE run_id IN (? /* more */) ORDER BY place;

-- expired_inbox: signals whose run did not come in time. The inbox is small; no index.
SELECT run_id, message_id, shard, name, data, at FROM inbox
WHERE at < ? AND shard IN (? /* more */) ORDER BY place LIMIT ?;

-- seen_signals: which were taken before. Carried by the primary key.
SELECT run_id, message_id FROM signals WHERE (run_id = ? AND message_id = ?) /* or */;

-- due_timers: a page, carried by timers_by_time, which gives the order too.
SELECT r.run_id, r.incarnation, t.timer_id, t.shard, t.due_at
FROM timers AS t INDEXED BY timers_by_time CROSS JOIN runs AS r ON r.place = t.run
WHERE t.due_at <= ? AND t.due_at >= ? AND (t.due_at, t.timer_id, r.run_id, r.incarnation) > (?, ?, ?, ?)
    AND +t.shard IN (? /* more */)
ORDER BY t.due_at, t.timer_id, r.run_id, r.incarnation LIMIT ?;

-- end_of_attempts: where a page of the open attempts ends that begins after a key; no row if it is the last one.
SELECT run, step_id FROM attempts WHERE (run, step_id) > (?, ?) ORDER BY run, step_id LIMIT 1 OFFSET ?;

-- open_attempts_between: of a page, those to be sent again. A range of the primary key.
SELECT r.run_id, r.incarnation, a.step_id, a.attempt, a.shard, a.sent_to, a.resend_at, a.resends
FROM attempts AS a CROSS JOIN runs AS r ON r.place = a.run
WHERE (a.run, a.step_id) > (?, ?) AND (a.run, a.step_id) <= (?, ?) AND a.resend_at <= ? AND a.shard IN (? /* more */)
ORDER BY a.run, a.step_id;

-- read_attempts: open attempts by their keys. Carried by the primary key, the runs by their unique one.
SELECT r.run_id, r.incarnation, a.step_id, a.attempt, a.shard, a.sent_to, a.resend_at, a.resends
FROM (VALUES (?, ?, ?) /* more */) AS v
CROSS JOIN runs AS r ON r.run_id = v.column1 AND r.incarnation = v.column2
CROSS JOIN attempts AS a ON a.run = r.place AND a.step_id = v.column3;

-- list_runs: present incarnations by run id. A running run without an open attempt is shown as SUSPENDED.
SELECT * FROM (
    SELECT
        run_id, incarnation, shard, workflow, version,
        CASE
            WHEN status = 'RUNNING' AND NOT EXISTS (SELECT 1 FROM attempts AS a WHERE a.run = runs.place)
                THEN 'SUSPENDED' ELSE status
        END AS shown,
        attributes, started_at, ended_at, parked
    FROM runs
    WHERE run_id > :after AND (:workflow IS NULL OR workflow = :workflow) AND NOT EXISTS (
        SELECT 1 FROM runs AS later WHERE later.run_id = runs.run_id AND later.incarnation > runs.incarnation
    )
)
WHERE :status IS NULL OR shown = :status ORDER BY run_id LIMIT :limit;

-- history_between: stored events of a time range, for publishing them again; walks the runs by their unique key.
SELECT r.run_id, r.incarnation, h.seq, h.type, h.data, h.at
FROM runs AS r CROSS JOIN history AS h ON h.run = r.place
WHERE
    (r.run_id, r.incarnation) >= (:run_id, :incarnation)
    AND (r.run_id, r.incarnation, h.seq) > (:run_id, :incarnation, :seq)
    AND h.at >= :since AND h.at < :until
    AND (NOT :outcomes_only OR h.type IN (SELECT value FROM json_each(:outcomes)))
ORDER BY r.run_id, r.incarnation, h.seq LIMIT :most;

-- read_blobs: large payloads by name.
SELECT name, data FROM blobs WHERE name IN (? /* more */);

-- read_meta: the facts of the installation.
SELECT key, value FROM meta;
