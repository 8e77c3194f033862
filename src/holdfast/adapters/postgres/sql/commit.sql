-- One commit is one statement: `fence`, those of the parts for which the batch has rows, `answer`.
--
-- Law: every part that writes asks `gate`, and `gate` counts all shards of the batch. PostgreSQL does not execute a SELECT
-- that nobody refers to, and a join with the shards that are still ours would write half of the batch.
-- All parts see the tables as they were before the statement, and none may touch a row that another one touches: what a
-- batch clears and sets again is collapsed before it comes here.

-- fence: locks the shard rows in shard order, whatever other owners lock, and moves them if all are still ours: the epoch is
-- the batch's, and the batch is new (an earlier try whose answer was lost may still be on its way). Carried by the primary
-- key of shards, its update by HOT.
WITH given AS (
    SELECT * FROM unnest(%(fence_shard)s, %(fence_epoch)s, %(fence_number)s, %(fence_published)s)
        AS g (shard, epoch, number, published)
), locked AS (
    SELECT s.shard, s.epoch = g.epoch AND s.last_batch < g.number AS ours
    FROM given AS g JOIN shards AS s ON s.shard = g.shard
    ORDER BY s.shard FOR NO KEY UPDATE OF s
), gate AS (
    SELECT count(*) FILTER (WHERE ours) = cardinality(%(fence_shard)s) AS open FROM locked
), moved AS (
    UPDATE shards AS s SET last_batch = g.number, published = g.published
    FROM given AS g WHERE s.shard = g.shard AND (SELECT open FROM gate)
)

-- history: the events of the batch; a second writer of the same seq fails on the primary key.
, history_appended AS (
    INSERT INTO history (run_id, incarnation, seq, type, data, at)
    SELECT * FROM unnest(
        %(history_run_id)s, %(history_incarnation)s, %(history_seq)s, %(history_type)s, %(history_data)s, %(history_at)s
    ) WHERE (SELECT open FROM gate)
)

-- started: new runs. An existing run gives way to a later incarnation only, and a purged one to none; else its incarnation
-- would become null, which the table refuses. Carried by the primary keys of runs and tombstones.
, runs_started AS (
    INSERT INTO runs AS r (
        run_id, incarnation, shard, workflow, version, status, attributes, started_at, ended_at, parked
    )
    SELECT s.run_id,
        CASE WHEN NOT EXISTS (SELECT FROM tombstones AS t WHERE t.run_id = s.run_id) THEN s.incarnation END,
        s.shard, s.workflow, s.version, s.status, s.attributes::jsonb, s.started_at,
        s.ended_at, s.parked
    FROM unnest(
        %(started_run_id)s, %(started_incarnation)s, %(started_shard)s, %(started_workflow)s, %(started_version)s,
        %(started_status)s, %(started_attributes)s, %(started_started_at)s, %(started_ended_at)s, %(started_parked)s
    ) AS s (run_id, incarnation, shard, workflow, version, status, attributes, started_at, ended_at, parked)
    WHERE (SELECT open FROM gate)
    ON CONFLICT (run_id) DO UPDATE SET
        incarnation = CASE WHEN excluded.incarnation > r.incarnation THEN excluded.incarnation END,
        shard = excluded.shard, workflow = excluded.workflow, version = excluded.version, status = excluded.status,
        attributes = excluded.attributes, started_at = excluded.started_at, ended_at = excluded.ended_at,
        parked = excluded.parked
)

-- changed: what changed of known runs. Carried by the primary key.
, runs_changed AS (
    UPDATE runs AS r SET
        version = c.version, status = c.status, attributes = c.attributes::jsonb, ended_at = c.ended_at, parked = c.parked
    FROM unnest(
        %(changed_run_id)s, %(changed_incarnation)s, %(changed_version)s, %(changed_status)s, %(changed_attributes)s,
        %(changed_ended_at)s, %(changed_parked)s
    ) AS c (run_id, incarnation, version, status, attributes, ended_at, parked)
    WHERE r.run_id = c.run_id AND r.incarnation = c.incarnation AND (SELECT open FROM gate)
)

-- closed: settled attempts go. Carried by the primary key.
, attempts_closed AS (
    DELETE FROM attempts AS a
    USING unnest(%(closed_run_id)s, %(closed_incarnation)s, %(closed_step_id)s) AS c (run_id, incarnation, step_id)
    WHERE a.run_id = c.run_id AND a.incarnation = c.incarnation AND a.step_id = c.step_id
        AND (SELECT open FROM gate)
)

-- opened: sent attempts, or the next one of the same step in its place. Carried by the primary key.
, attempts_opened AS (
    INSERT INTO attempts (run_id, incarnation, step_id, attempt, shard, sent_to, resend_at, resends)
    SELECT * FROM unnest(
        %(opened_run_id)s, %(opened_incarnation)s, %(opened_step_id)s, %(opened_attempt)s, %(opened_shard)s,
        %(opened_sent_to)s, %(opened_resend_at)s, %(opened_resends)s
    ) WHERE (SELECT open FROM gate)
    ON CONFLICT (run_id, incarnation, step_id) DO UPDATE SET
        attempt = excluded.attempt, shard = excluded.shard, sent_to = excluded.sent_to,
        resend_at = excluded.resend_at, resends = excluded.resends
)

-- cleared: waits that are over. Carried by the primary key.
, timers_cleared AS (
    DELETE FROM timers AS t
    USING unnest(%(cleared_run_id)s, %(cleared_incarnation)s, %(cleared_timer_id)s) AS c (run_id, incarnation, timer_id)
    WHERE t.run_id = c.run_id AND t.incarnation = c.incarnation AND t.timer_id = c.timer_id
        AND (SELECT open FROM gate)
)

-- set: new waits, or the same wait with another time. Carried by the primary key.
, timers_set AS (
    INSERT INTO timers (run_id, incarnation, timer_id, shard, due_at)
    SELECT * FROM unnest(
        %(set_run_id)s, %(set_incarnation)s, %(set_timer_id)s, %(set_shard)s, %(set_due_at)s
    ) WHERE (SELECT open FROM gate)
    ON CONFLICT (run_id, incarnation, timer_id) DO UPDATE SET shard = excluded.shard, due_at = excluded.due_at
)

-- signals: message ids taken by their run; the second taking of one fails on the primary key.
, signals_taken AS (
    INSERT INTO signals (run_id, message_id)
    SELECT * FROM unnest(%(signals_run_id)s, %(signals_message_id)s) WHERE (SELECT open FROM gate)
)

-- taken: signals that found their run. Carried by the unique key (run_id, message_id).
, inbox_taken AS (
    DELETE FROM inbox AS i
    USING unnest(%(taken_run_id)s, %(taken_message_id)s) AS t (run_id, message_id)
    WHERE i.run_id = t.run_id AND i.message_id = t.message_id AND (SELECT open FROM gate)
)

-- put: signals before their run; the same message again changes nothing. Carried by the unique key (run_id, message_id).
, inbox_put AS (
    INSERT INTO inbox (run_id, message_id, shard, name, data, at)
    SELECT * FROM unnest(
        %(put_run_id)s, %(put_message_id)s, %(put_shard)s, %(put_name)s, %(put_data)s, %(put_at)s
    ) WHERE (SELECT open FROM gate)
    ON CONFLICT (run_id, message_id) DO NOTHING
)

-- outbox: what this batch still has to publish.
, outbox_put AS (
    INSERT INTO outbox (shard, number, spans)
    SELECT * FROM unnest(%(outbox_shard)s, %(outbox_number)s, %(outbox_spans)s) WHERE (SELECT open FROM gate)
)

-- trimmed: what was acknowledged in sequence goes. Carried by the primary key of outbox, a range a shard.
, outbox_trimmed AS (
    DELETE FROM outbox AS o
    USING unnest(%(trimmed_shard)s, %(trimmed_published)s) AS t (shard, published)
    WHERE o.shard = t.shard AND o.number <= t.published AND (SELECT open FROM gate)
)

-- planned: new rows of the ledger; a second plan of one effect fails on the primary key.
, effects_planned AS (
    INSERT INTO effects ({effect_columns})
    SELECT * FROM unnest(
        %(planned_effect_id)s, %(planned_run_id)s, %(planned_incarnation)s, %(planned_step_id)s, %(planned_shard)s,
        %(planned_name)s, %(planned_key)s, %(planned_request_hash)s, %(planned_planned_at)s,
        %(planned_guard)s, %(planned_terms)s, %(planned_state)s, %(planned_version)s, %(planned_fence)s,
        %(planned_attempt)s, %(planned_owner)s, %(planned_lease_until)s, %(planned_sender)s, %(planned_request)s,
        %(planned_first_sent_at)s, %(planned_last_sent_at)s, %(planned_asked_at)s, %(planned_unclear)s,
        %(planned_repeats)s, %(planned_sender_gone)s, %(planned_result)s, %(planned_error)s, %(planned_reason)s,
        %(planned_resolved_by)s
    ) WHERE (SELECT open FROM gate)
)

-- effects: what moves changed of rows that this transaction has locked (ledger.sql), where state and fence are still those
-- that were decided on. A request that stays is not sent. Carried by the primary key.
, effects_changed AS (
    UPDATE effects AS e SET
        guard = c.guard, terms = c.terms, state = c.state, version = c.version, fence = c.fence, attempt = c.attempt,
        owner = c.owner, lease_until = c.lease_until, sender = c.sender, request = coalesce(c.request, e.request),
        first_sent_at = c.first_sent_at, last_sent_at = c.last_sent_at, asked_at = c.asked_at, unclear = c.unclear,
        repeats = c.repeats, sender_gone = c.sender_gone, result = c.result, error = c.error, reason = c.reason,
        resolved_by = c.resolved_by
    FROM unnest(
        %(effects_effect_id)s, %(effects_was_state)s, %(effects_was_fence)s,
        %(effects_guard)s, %(effects_terms)s, %(effects_state)s, %(effects_version)s, %(effects_fence)s,
        %(effects_attempt)s, %(effects_owner)s, %(effects_lease_until)s, %(effects_sender)s, %(effects_request)s,
        %(effects_first_sent_at)s, %(effects_last_sent_at)s, %(effects_asked_at)s, %(effects_unclear)s,
        %(effects_repeats)s, %(effects_sender_gone)s, %(effects_result)s, %(effects_error)s, %(effects_reason)s,
        %(effects_resolved_by)s
    ) AS c (
        effect_id, was_state, was_fence,
        guard, terms, state, version, fence, attempt, owner, lease_until, sender, request,
        first_sent_at, last_sent_at, asked_at, unclear, repeats, sender_gone, result, error, reason, resolved_by
    )
    WHERE e.effect_id = c.effect_id AND e.state = c.was_state AND e.fence = c.was_fence AND (SELECT open FROM gate)
    RETURNING 1
)

-- story: lines of the story; a second line of one version fails on the primary key.
, moves_told AS (
    INSERT INTO effect_moves (effect_id, version, at, what, who, was, "to", move)
    SELECT * FROM unnest(
        %(story_effect_id)s, %(story_version)s, %(story_at)s, %(story_what)s, %(story_who)s, %(story_was)s,
        %(story_to)s, %(story_move)s
    ) WHERE (SELECT open FROM gate)
)

-- purged: all of runs that have ended goes, and a tombstone stays. Of a run that is open or not settled its incarnation would
-- become null, which the table refuses. A release that knows of no tombstones starts here no more. Only settled effects are deleted, which nobody locks but for a late proof. Carried
-- by the primary keys, and by effects_by_run.
, purged AS (
    SELECT p.*, NOT EXISTS (
        SELECT FROM runs AS r WHERE r.run_id = p.run_id AND r.ended_at IS NULL
        UNION ALL SELECT FROM attempts AS a WHERE a.run_id = p.run_id
        UNION ALL SELECT FROM effects AS e WHERE e.run_id = p.run_id AND e.state NOT IN ('SUCCEEDED', 'FAILED', 'CANCELLED')
    ) AS settled
    FROM unnest(%(purged_run_id)s, %(purged_incarnation)s, %(purged_input_hash)s, %(purged_ended_at)s)
        AS p (run_id, incarnation, input_hash, ended_at)
    WHERE (SELECT open FROM gate)
), buried AS (
    INSERT INTO tombstones (run_id, incarnation, input_hash, ended_at, purged_at)
    SELECT run_id, CASE WHEN settled THEN incarnation END, input_hash, ended_at,
        (extract(epoch FROM clock_timestamp()) * 1000000)::int8
    FROM purged
    ON CONFLICT (run_id) DO NOTHING
), older_kept_out AS (
    UPDATE meta SET value = '7' WHERE key = 'safe_from' AND value::int4 < 7 AND EXISTS (SELECT FROM purged)
), runs_purged AS (
    DELETE FROM runs AS r USING purged AS p WHERE r.run_id = p.run_id
), history_purged AS (
    DELETE FROM history AS h USING purged AS p WHERE h.run_id = p.run_id
), timers_purged AS (
    DELETE FROM timers AS t USING purged AS p WHERE t.run_id = p.run_id
), signals_purged AS (
    DELETE FROM signals AS s USING purged AS p WHERE s.run_id = p.run_id
), inbox_purged AS (
    DELETE FROM inbox AS i USING purged AS p WHERE i.run_id = p.run_id
), deaths_purged AS (
    DELETE FROM deaths AS d USING purged AS p WHERE d.run_id = p.run_id
), moves_purged AS (
    DELETE FROM effect_moves AS m USING purged AS p, effects AS e WHERE e.run_id = p.run_id AND m.effect_id = e.effect_id
), effects_purged AS (
    DELETE FROM effects AS e USING purged AS p WHERE e.run_id = p.run_id
)

-- answer: no row if all was written, else the shards because of which nothing was.
SELECT shard FROM given
WHERE NOT (SELECT open FROM gate) AND shard NOT IN (SELECT shard FROM locked WHERE ours)

-- counted: goes with `effects`. If fewer rows were touched than were decided on, the whole fails on a text that is no number.
UNION ALL
SELECT ('only ' || n || ' of the effects are still what was decided on')::int8
FROM (SELECT count(*) AS n FROM effects_changed) AS touched
WHERE (SELECT open FROM gate) AND n <> cardinality(%(effects_effect_id)s);
