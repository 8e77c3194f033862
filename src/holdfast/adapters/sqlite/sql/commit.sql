-- The statements of one commit, in the order they run. What is marked "more" or "or" is widened to many rows.

-- move_shards: the fence. Moves the counters of every shard whose epoch is still the batch's; a stale shard is not touched,
-- so that fewer rows than shards means: roll back. Carried by the primary key.
UPDATE shards SET last_batch = v.column3, published = v.column4
FROM (VALUES (?, ?, ?, ?) /* more */) AS v
WHERE shards.shard = v.column1 AND shards.epoch = v.column2;

-- start_runs: new incarnations; one that exists already fails on its unique key.
INSERT INTO runs (run_id, incarnation, shard, workflow, version, status, attributes, started_at, ended_at, parked)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) /* more */;

-- find_places: where runs lie that this process has not written lately. Carried by the unique key.
SELECT run_id, incarnation, place FROM runs WHERE (run_id = ? AND incarnation = ?) /* or */;

-- append_history: the events of one batch; a second writer of the same seq fails on the primary key.
INSERT INTO history (run, seq, type, data, at)
VALUES (?, ?, ?, ?, ?) /* more */;

-- change_runs: what changed of known runs.
UPDATE runs SET
    version = v.column2, status = v.column3, attributes = v.column4, ended_at = v.column5, parked = v.column6
FROM (VALUES (?, ?, ?, ?, ?, ?) /* more */) AS v
WHERE runs.place = v.column1;

-- close_attempts: settled attempts go. Carried by the primary key.
DELETE FROM attempts WHERE (run = ? AND step_id = ?) /* or */;

-- open_attempts: sent attempts, or the next one of the same step in its place.
INSERT OR REPLACE INTO attempts (run, step_id, attempt, shard, sent_to, resend_at, resends)
VALUES (?, ?, ?, ?, ?, ?, ?) /* more */;

-- clear_timers: waits that are over. Carried by the primary key.
DELETE FROM timers WHERE (run = ? AND timer_id = ?) /* or */;

-- set_timers: new waits, or the same wait with another time.
INSERT OR REPLACE INTO timers (run, timer_id, shard, due_at)
VALUES (?, ?, ?, ?) /* more */;

-- take_signals: message ids taken by their run; the second taking of one fails on the primary key.
INSERT INTO signals (run_id, message_id)
VALUES (?, ?) /* more */;

-- take_from_inbox: signals that found their run.
DELETE FROM inbox WHERE (run_id = ? AND message_id = ?) /* or */;

-- put_into_inbox: signals before their run; the same message again changes nothing.
INSERT INTO inbox (run_id, message_id, shard, name, data, at)
VALUES (?, ?, ?, ?, ?, ?) /* more */
ON CONFLICT (run_id, message_id) DO NOTHING;

-- put_into_outbox: what this batch still has to publish.
INSERT INTO outbox (shard, number, spans)
VALUES (?, ?, ?) /* more */;

-- trim_outbox: what was acknowledged in sequence goes. Carried by the primary key, shard by shard.
DELETE FROM outbox WHERE (shard = ? AND number <= ?) /* or */;
