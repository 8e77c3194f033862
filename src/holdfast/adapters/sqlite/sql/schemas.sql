-- Writer schemas, by fingerprint. What is marked "more" is widened.

-- register_schemas: one that is known is left as it is.
INSERT INTO writer_schemas (fingerprint, name, text, release)
VALUES (?, ?, ?, ?) /* more */
ON CONFLICT DO NOTHING;

-- read_schemas: all of them, some dozens a release.
SELECT fingerprint, name, text, release FROM writer_schemas ORDER BY name, fingerprint;
