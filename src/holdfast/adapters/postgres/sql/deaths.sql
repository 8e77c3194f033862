-- Deaths of processes.

-- report_deaths: one that is recorded is left as it is.
INSERT INTO deaths (run_id, incarnation, step_id, process, shard, seq, attempt, reason, detail, at)
SELECT r, i, s, p, sh, q, a, w, d, (extract(epoch FROM clock_timestamp()) * 1000000)::int8
FROM unnest(
    %(run_ids)s, %(incarnations)s, %(step_ids)s, %(processes)s, %(shards)s, %(seqs)s, %(attempts)s, %(reasons)s, %(details)s
) AS t (r, i, s, p, sh, q, a, w, d)
ON CONFLICT DO NOTHING;

-- read_deaths: a page. A range of the primary key.
SELECT run_id, incarnation, step_id, process, shard, seq, attempt, reason, detail, at FROM deaths
WHERE (run_id, incarnation, step_id, process)
    > (%(run_id)s::text, %(incarnation)s::int4, %(step_id)s::text, %(process)s::text)
ORDER BY run_id, incarnation, step_id, process LIMIT %(most)s::int8;

-- forget_deaths: by their places. Carried by the primary key.
DELETE FROM deaths AS d
USING unnest(%(run_ids)s, %(incarnations)s, %(step_ids)s, %(processes)s) AS t (r, i, s, p)
WHERE d.run_id = t.r AND d.incarnation = t.i AND d.step_id = t.s AND d.process = t.p;
