-- Purging: what goes with a run, and what stays. What is marked "more" is widened.

-- unsettled_runs: which are open or await something. Carried by the unique key of runs, the primary key of attempts, and
-- effects_by_run.
SELECT DISTINCT run_id FROM runs
WHERE run_id IN (? /* more */) AND (
    ended_at IS NULL
    OR EXISTS (SELECT 1 FROM attempts AS a WHERE a.run = runs.place)
    OR EXISTS (
        SELECT 1 FROM effects AS e
        WHERE e.run_id = runs.run_id AND e.state NOT IN ('SUCCEEDED', 'FAILED', 'CANCELLED')
    )
);

-- purge_history: the events. A range of the primary key a run.
DELETE FROM history WHERE run IN (SELECT place FROM runs WHERE run_id IN (? /* more */));

-- purge_timers: none should be left. A range of the primary key a run.
DELETE FROM timers WHERE run IN (SELECT place FROM runs WHERE run_id IN (? /* more */));

-- purge_signals: the message ids. A range of the primary key a run.
DELETE FROM signals WHERE run_id IN (? /* more */);

-- purge_inbox: none should be left. A range of the unique key a run.
DELETE FROM inbox WHERE run_id IN (? /* more */);

-- purge_deaths: who died of it. A range of the primary key a run.
DELETE FROM deaths WHERE run_id IN (? /* more */);

-- purge_moves: the stories of its effects. Carried by effects_by_run and the primary key.
DELETE FROM effect_moves WHERE effect IN (SELECT place FROM effects WHERE run_id IN (? /* more */));

-- purge_effects: its effects. Carried by effects_by_run.
DELETE FROM effects WHERE run_id IN (? /* more */);

-- purge_runs: the rows of all incarnations. Carried by the unique key.
DELETE FROM runs WHERE run_id IN (? /* more */);

-- bury: what stays; the first tombstone of a run is kept.
INSERT OR IGNORE INTO tombstones (run_id, incarnation, input_hash, ended_at, purged_at)
VALUES (?, ?, ?, ?, ?) /* more */;

-- read_tombstones: by run id. Carried by the primary key.
SELECT run_id, incarnation, input_hash, ended_at, purged_at FROM tombstones WHERE run_id IN (? /* more */);

-- buried_runs: which were purged. Carried by the primary key.
SELECT run_id FROM tombstones WHERE run_id IN (? /* more */);
