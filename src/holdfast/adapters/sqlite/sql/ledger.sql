-- The ledger. What is marked "more" is widened; {effect_columns} stands for the text of that name.

-- effect_columns: an effect as adapters/ledger.py lays it out.
effect_id, run_id, incarnation, step_id, shard, name, key, request_hash, planned_at,
guard, terms, state, version, fence, attempt, owner, lease_until, sender,
request, first_sent_at, last_sent_at, asked_at, unclear, repeats, sender_gone,
result, error, reason, resolved_by;

-- plan_effects: new rows, of which no move was made yet; a second plan of one effect fails on its unique key.
INSERT INTO effects ({effect_columns})
VALUES (
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'PLANNED', 0, 0, 0, '', 0, '', NULL, NULL, NULL, NULL, 0, 0, '', NULL, NULL, '', ''
) /* more */;

-- read_effects: rows by their ids, with their places. Carried by the unique key.
SELECT {effect_columns}, place FROM effects WHERE effect_id IN (? /* more */);

-- change_effects: the columns that moves changed, where state and fence are still those that were decided on; if fewer
-- rows are touched, all is rolled back. /* set */ and /* new */ are filled in. Carried by the primary key.
UPDATE effects SET /* set */
FROM (VALUES (?, ?, ? /* new */) /* more */) AS v
WHERE effects.place = v.column1 AND effects.state = v.column2 AND effects.fence = v.column3;

-- tell_moves: lines of the story; a second line of one version fails on the primary key.
INSERT INTO effect_moves (effect, version, at, what, who, was, "to", move)
VALUES (?, ?, ?, ?, ?, ?, ?, ?) /* more */;

-- effects_of_run: in the order they were planned. Carried by effects_by_run, which ends in the place.
SELECT {effect_columns} FROM effects WHERE run_id = ? ORDER BY place;

-- moves_of_run: all moves of a run's effects, of each in order. Carried by effects_by_run and the primary key.
SELECT e.effect_id, m.move FROM effects AS e CROSS JOIN effect_moves AS m ON m.effect = e.place
WHERE e.run_id = ? ORDER BY e.place, m.version;

-- moves_of_effect: all moves of one effect, in order. Carried by the unique key and the primary key.
SELECT e.effect_id, m.move FROM effects AS e CROSS JOIN effect_moves AS m ON m.effect = e.place
WHERE e.effect_id = ? ORDER BY m.version;

-- list_effects: by effect id, which the unique key gives.
SELECT {effect_columns} FROM effects
WHERE effect_id > :after AND (:name IS NULL OR name = :name)
    AND (:states = '[]' OR state IN (SELECT value FROM json_each(:states)))
ORDER BY effect_id LIMIT :limit;

-- list_waiting_effects: the same, of those that wait for a question or a person. Carried by effects_waiting.
SELECT {effect_columns} FROM effects
WHERE state IN ('IN_DOUBT', 'PARKED')
    AND effect_id > :after AND (:name IS NULL OR name = :name)
    AND state IN (SELECT value FROM json_each(:states))
ORDER BY effect_id LIMIT :limit;

-- list_conflicts: those with a proof that came too late to be their state. Carried by effect_conflicts.
SELECT {effect_columns} FROM effects
WHERE place IN (SELECT effect FROM effect_moves WHERE what = 'conflict') AND effect_id > :after
ORDER BY effect_id LIMIT :limit;

-- lapsed_effects: held ones whose lease is over. Carried by effects_held.
SELECT {effect_columns} FROM effects
WHERE state IN ('CLAIMED', 'INFLIGHT', 'RECONCILING') AND lease_until <= ? AND shard IN (? /* more */)
ORDER BY lease_until, place LIMIT ?;

-- register_processes: a process that is known stays as it is.
INSERT INTO processes (process, host, pid, started, gone, at)
VALUES (?, ?, ?, ?, ?, ?) /* more */
ON CONFLICT (process) DO NOTHING;

-- deregister_process: the first word stays. Carried by the primary key.
UPDATE processes SET gone = :gone WHERE process = :process AND gone = '';

-- read_processes: what is known of them. Carried by the primary key.
SELECT process, host, pid, started, gone FROM processes WHERE process IN (? /* more */);
