-- Deferred inputs.

-- keep_deferred: one that is kept is left as it is. Places follow the order of the arrays.
INSERT INTO deferred (shard, run_id, identity, data, reason, release, at)
SELECT s, r, i, d, w, v, (extract(epoch FROM clock_timestamp()) * 1000000)::int8
FROM unnest(%(shards)s, %(run_ids)s, %(identities)s, %(data)s, %(reasons)s, %(releases)s) WITH ORDINALITY
    AS t (s, r, i, d, w, v, n)
ORDER BY n
ON CONFLICT DO NOTHING;

-- waiting_runs: of all shards. The table is nearly always empty.
SELECT shard, run_id, count(*), (array_agg(reason ORDER BY place))[1], (array_agg(release ORDER BY place))[1], min(at)
FROM deferred GROUP BY shard, run_id ORDER BY min(place);

-- read_deferred: the first inputs of a run. Carried by the unique key.
SELECT shard, run_id, identity, data, reason, release, place, at FROM deferred
WHERE shard = %(shard)s::int4 AND run_id = %(run_id)s::text ORDER BY place LIMIT %(most)s::int8;

-- forget_deferred: by their places. Carried by the primary key.
DELETE FROM deferred WHERE place = ANY (%(places)s);
