-- Deaths of processes. What is marked "more" is widened.

-- report_deaths: one that is recorded is left as it is.
INSERT INTO deaths (run_id, incarnation, step_id, process, shard, seq, attempt, reason, detail, at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) /* more */
ON CONFLICT DO NOTHING;

-- read_deaths: a page. A range of the primary key.
SELECT run_id, incarnation, step_id, process, shard, seq, attempt, reason, detail, at FROM deaths
WHERE (run_id, incarnation, step_id, process) > (:run_id, :incarnation, :step_id, :process)
ORDER BY run_id, incarnation, step_id, process LIMIT :most;

-- forget_deaths: by their places. Carried by the primary key.
DELETE FROM deaths
WHERE (run_id = ? AND incarnation = ? AND step_id = ? AND process = ?) /* or */;
