-- Deferred inputs. What is marked "more" is widened.

-- keep_deferred: one that is kept is left as it is.
INSERT INTO deferred (shard, run_id, identity, data, reason, release, at)
VALUES (?, ?, ?, ?, ?, ?, ?) /* more */
ON CONFLICT DO NOTHING;

-- waiting_runs: of all shards. The table is nearly always empty.
SELECT shard, run_id, count(*), reason, release, at, min(place) FROM deferred
GROUP BY shard, run_id ORDER BY min(place);

-- read_deferred: the first inputs of a run. Carried by the unique key.
SELECT shard, run_id, identity, data, reason, release, place, at FROM deferred
WHERE shard = :shard AND run_id = :run_id ORDER BY place LIMIT :most;

-- forget_deferred: by their places. Carried by the primary key.
DELETE FROM deferred WHERE (place = ?) /* or */;
