-- Writer schemas, by fingerprint.

-- register_schemas: one that is known is left as it is.
INSERT INTO writer_schemas (fingerprint, name, text, release)
SELECT f, n, t, r FROM unnest(%(fingerprints)s, %(names)s, %(texts)s, %(releases)s) AS s (f, n, t, r)
ON CONFLICT DO NOTHING;

-- read_schemas: all of them, some dozens a release.
SELECT fingerprint, name, text, release FROM writer_schemas ORDER BY name, fingerprint;
