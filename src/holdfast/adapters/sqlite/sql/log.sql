-- The log in the store's file. What is marked "more" is widened.

-- read_topics: the topics that there are.
SELECT name, id, partitions FROM log_topics;

-- make_topic: a topic; one that exists stays as it is.
INSERT INTO log_topics (name, id, partitions)
VALUES (?, ?, ?) /* more */
ON CONFLICT (name) DO NOTHING;

-- append_records: records in the order they were published; their places follow each other.
INSERT INTO log_records (topic, partition, key, value, headers, at)
VALUES (?, ?, ?, ?, ?, ?) /* more */;

-- read_records: what was published behind a place on these topics. A range of the primary key.
SELECT place, topic, partition, key, value, headers, at FROM log_records
WHERE place > ? AND topic IN (? /* more */) ORDER BY place LIMIT ?;

-- end_of_records: the last place ever given; zero rows before the first.
SELECT seq FROM sqlite_sequence WHERE name = 'log_records';

-- forget_records: acknowledged records go. Carried by the primary key.
DELETE FROM log_records WHERE place IN (? /* more */);

-- cluster_id: what tells this log from another one.
SELECT value FROM meta WHERE key = 'log';
