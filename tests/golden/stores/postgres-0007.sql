CREATE SCHEMA golden_dump;
CREATE TABLE golden_dump.attempts (
    run_id text NOT NULL COLLATE pg_catalog."C",
    incarnation integer NOT NULL,
    step_id text NOT NULL COLLATE pg_catalog."C",
    attempt integer NOT NULL,
    shard integer NOT NULL,
    sent_to text,
    resend_at bigint NOT NULL,
    resends integer NOT NULL
)
WITH (autovacuum_vacuum_threshold='20000', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE golden_dump.blobs (
    name text NOT NULL COLLATE pg_catalog."C",
    data bytea NOT NULL,
    at bigint NOT NULL
);
ALTER TABLE ONLY golden_dump.blobs ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE TABLE golden_dump.deaths (
    run_id text NOT NULL COLLATE pg_catalog."C",
    incarnation integer NOT NULL,
    step_id text NOT NULL COLLATE pg_catalog."C",
    process text NOT NULL COLLATE pg_catalog."C",
    shard integer NOT NULL,
    seq bigint NOT NULL,
    attempt integer NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    at bigint NOT NULL
);
CREATE TABLE golden_dump.deferred (
    place bigint NOT NULL,
    shard integer NOT NULL,
    run_id text NOT NULL COLLATE pg_catalog."C",
    identity text NOT NULL COLLATE pg_catalog."C",
    data bytea NOT NULL,
    reason text NOT NULL,
    release text NOT NULL,
    at bigint NOT NULL
);
ALTER TABLE golden_dump.deferred ALTER COLUMN place ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME golden_dump.deferred_place_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE golden_dump.effect_moves (
    effect_id text NOT NULL COLLATE pg_catalog."C",
    version integer NOT NULL,
    at bigint NOT NULL,
    what text NOT NULL,
    who text NOT NULL,
    was text NOT NULL,
    "to" text NOT NULL,
    move bytea NOT NULL
);
CREATE TABLE golden_dump.effects (
    effect_id text NOT NULL COLLATE pg_catalog."C",
    run_id text NOT NULL COLLATE pg_catalog."C",
    incarnation integer NOT NULL,
    step_id text NOT NULL COLLATE pg_catalog."C",
    shard integer NOT NULL,
    name text NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    planned_at bigint NOT NULL,
    guard text NOT NULL,
    terms bytea NOT NULL,
    state text NOT NULL,
    version integer NOT NULL,
    fence bigint NOT NULL,
    attempt integer NOT NULL,
    owner text NOT NULL,
    lease_until bigint NOT NULL,
    sender text NOT NULL,
    request bytea,
    first_sent_at bigint,
    last_sent_at bigint,
    asked_at bigint,
    unclear boolean NOT NULL,
    repeats boolean NOT NULL,
    sender_gone text NOT NULL,
    result bytea,
    error bytea,
    reason text NOT NULL,
    resolved_by text NOT NULL,
    place bigint NOT NULL
);
ALTER TABLE golden_dump.effects ALTER COLUMN place ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME golden_dump.effects_place_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE golden_dump.history (
    run_id text NOT NULL COLLATE pg_catalog."C",
    incarnation integer NOT NULL,
    seq integer NOT NULL,
    type text NOT NULL,
    data bytea NOT NULL,
    at bigint NOT NULL
);
CREATE TABLE golden_dump.inbox (
    place bigint NOT NULL,
    run_id text NOT NULL COLLATE pg_catalog."C",
    message_id text NOT NULL COLLATE pg_catalog."C",
    shard integer NOT NULL,
    name text NOT NULL,
    data bytea NOT NULL,
    at bigint NOT NULL
);
ALTER TABLE golden_dump.inbox ALTER COLUMN place ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME golden_dump.inbox_place_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE golden_dump.meta (
    key text NOT NULL COLLATE pg_catalog."C",
    value text NOT NULL
);
CREATE TABLE golden_dump.outbox (
    shard integer NOT NULL,
    number bigint NOT NULL,
    spans bytea NOT NULL
)
WITH (autovacuum_vacuum_threshold='20000', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE golden_dump.processes (
    process text NOT NULL COLLATE pg_catalog."C",
    host text NOT NULL,
    pid bigint NOT NULL,
    started text NOT NULL,
    gone text NOT NULL,
    at bigint NOT NULL
);
CREATE TABLE golden_dump.runs (
    run_id text NOT NULL COLLATE pg_catalog."C",
    incarnation integer NOT NULL,
    shard integer NOT NULL,
    workflow text NOT NULL,
    version text NOT NULL,
    status text NOT NULL,
    attributes jsonb NOT NULL,
    started_at bigint NOT NULL,
    ended_at bigint,
    parked text
)
WITH (fillfactor='80');
CREATE TABLE golden_dump.shards (
    shard integer NOT NULL,
    epoch bigint DEFAULT 0 NOT NULL,
    owner text DEFAULT ''::text NOT NULL,
    last_batch bigint DEFAULT 0 NOT NULL,
    published bigint DEFAULT 0 NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_threshold='2000', autovacuum_vacuum_scale_factor='0');
CREATE TABLE golden_dump.signals (
    run_id text NOT NULL COLLATE pg_catalog."C",
    message_id text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE golden_dump.timers (
    run_id text NOT NULL COLLATE pg_catalog."C",
    incarnation integer NOT NULL,
    timer_id text NOT NULL COLLATE pg_catalog."C",
    shard integer NOT NULL,
    due_at bigint NOT NULL
)
WITH (autovacuum_vacuum_threshold='20000', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE golden_dump.tombstones (
    run_id text NOT NULL COLLATE pg_catalog."C",
    incarnation integer NOT NULL,
    input_hash bytea NOT NULL,
    ended_at bigint NOT NULL,
    purged_at bigint DEFAULT 0 NOT NULL
);
CREATE TABLE golden_dump.writer_schemas (
    fingerprint bytea NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    text text NOT NULL,
    release text NOT NULL
);
INSERT INTO golden_dump.attempts VALUES ('unclear', 0, 'golden_unclear#1', 1, 2, 'p-f92e20bc-1bc4-41dd-8348-f5fea39476b2', 1796024789132446, 0);
INSERT INTO golden_dump.effect_moves VALUES ('0c3d6a613fca3ff7bd6e3af75b949763', 1, 1796024729153930, 'begin', 'p-f92e20bc-1bc4-41dd-8348-f5fea39476b2', 'PLANNED', 'INFLIGHT', '\xde000da96566666563745f6964d9203063336436613631336663613366663762643665336166373562393439373633a776657273696f6e01a477686174a5626567696ea377686fd926702d66393265323062632d316263342d343164642d383334382d663566656133393437366232a26174cf0006617997fd318aa3776173a7504c414e4e4544a2746fa8494e464c49474854a566656e636501a7617474656d707401a57465726d7384a56775617264ac61745f6d6f73745f6f6e6365a677696e646f77c0a86c69666574696d65c0a66c6f6f6b7570c2ab6c656173655f756e74696ccf0006617998e2134aa473656e74c3ab73656e6465725f676f6e65a0');
INSERT INTO golden_dump.effect_moves VALUES ('0c3d6a613fca3ff7bd6e3af75b949763', 2, 1796024729168212, 'doubt', 'p-f92e20bc-1bc4-41dd-8348-f5fea39476b2', 'INFLIGHT', 'IN_DOUBT', '\xde000ba96566666563745f6964d9203063336436613631336663613366663762643665336166373562393439373633a776657273696f6e02a477686174a5646f756274a377686fd926702d66393265323062632d316263342d343164642d383334382d663566656133393437366232a26174cf0006617997fd6954a3776173a8494e464c49474854a2746fa8494e5f444f554254a566656e636502a7756e636c656172c3ab73656e6465725f676f6e65b96974732066756e6374696f6e206861732072657475726e6564a6726561736f6eba436f6e6e656374696f6e52657365744572726f723a20706f7374');
INSERT INTO golden_dump.effect_moves VALUES ('0c3d6a613fca3ff7bd6e3af75b949763', 3, 1796024729176921, 'park', 'p-f92e20bc-1bc4-41dd-8348-f5fea39476b2', 'IN_DOUBT', 'PARKED', '\xde0009a96566666563745f6964d9203063336436613631336663613366663762643665336166373562393439373633a776657273696f6e03a477686174a47061726ba377686fd926702d66393265323062632d316263342d343164642d383334382d663566656133393437366232a26174cf0006617997fd8b59a3776173a8494e5f444f554254a2746fa65041524b4544a566656e636502a6726561736f6ed959776865746865722069742068617070656e656420697320756e636c6561722028436f6e6e656374696f6e52657365744572726f723a20706f7374292c20616e642069747320677561726420616c6c6f7773206f6e6520747279');
INSERT INTO golden_dump.effects OVERRIDING SYSTEM VALUE VALUES ('0c3d6a613fca3ff7bd6e3af75b949763', 'unclear', 0, 'golden_unclear#1', 2, 'golden_unclear', '0c3d6a613fca3ff7bd6e3af75b949763', '\x4e97319e8207bc5e11c7a05c020c3ec9', 1796024729132446, 'at_most_once', '\x84a56775617264ac61745f6d6f73745f6f6e6365a677696e646f77c0a86c69666574696d65c0a66c6f6f6b7570c2', 'PARKED', 3, 2, 1, 'p-f92e20bc-1bc4-41dd-8348-f5fea39476b2', 0, 'p-f92e20bc-1bc4-41dd-8348-f5fea39476b2', NULL, 1796024729153930, 1796024729168212, NULL, true, false, 'its function has returned', NULL, NULL, 'whether it happened is unclear (ConnectionResetError: post), and its guard allows one try', '', 1);
INSERT INTO golden_dump.history VALUES ('done', 0, 1, 'RunStarted', '\xc301e6e9c35c6c1e1c8c14676f6c64656e5f73756d0231206170706c69636174696f6e2f6a736f6e000e5b312c322c335d0000020c636f6c6f757208626c75650000', 1796024728970714);
INSERT INTO golden_dump.history VALUES ('done', 0, 2, 'StepScheduled', '\xc301a7c9932c72ed5c6d18676f6c64656e5f616464233114676f6c64656e5f6164640873746570206170706c69636174696f6e2f6a736f6e00267b226f6e65223a302c226f74686572223a317d0000203fa4132b08690bc5513c66e5ce111f6a0e64656661756c74109a9999999999b93f00000000000008400000000000004e409a9999999999b93f0000086661696c0000000000c0824000000000', 1796024728970714);
INSERT INTO golden_dump.history VALUES ('done', 0, 3, 'StepCompleted', '\xc3018373d8fd7d6c49b318676f6c64656e5f616464233102206170706c69636174696f6e2f6a736f6e0002310000', 1796024729021022);
INSERT INTO golden_dump.history VALUES ('done', 0, 4, 'StepScheduled', '\xc301a7c9932c72ed5c6d18676f6c64656e5f616464233214676f6c64656e5f6164640873746570206170706c69636174696f6e2f6a736f6e00267b226f6e65223a312c226f74686572223a327d000020e771311f545ad92d3130add9c6b3c62e0e64656661756c74109a9999999999b93f00000000000008400000000000004e409a9999999999b93f0000086661696c0000000000c0824000000000', 1796024729021022);
INSERT INTO golden_dump.history VALUES ('done', 0, 5, 'StepCompleted', '\xc3018373d8fd7d6c49b318676f6c64656e5f616464233202206170706c69636174696f6e2f6a736f6e0002330000', 1796024729041132);
INSERT INTO golden_dump.history VALUES ('done', 0, 6, 'StepScheduled', '\xc301a7c9932c72ed5c6d18676f6c64656e5f616464233314676f6c64656e5f6164640873746570206170706c69636174696f6e2f6a736f6e00267b226f6e65223a332c226f74686572223a337d000020e336d4b6eaf0c9d471cdf50b7ec489510e64656661756c74109a9999999999b93f00000000000008400000000000004e409a9999999999b93f0000086661696c0000000000c0824000000000', 1796024729041132);
INSERT INTO golden_dump.history VALUES ('done', 0, 7, 'StepCompleted', '\xc3018373d8fd7d6c49b318676f6c64656e5f616464233302206170706c69636174696f6e2f6a736f6e0002360000', 1796024729046591);
INSERT INTO golden_dump.history VALUES ('done', 0, 8, 'RunCompleted', '\xc3012d394e674778d323206170706c69636174696f6e2f6a736f6e0002360000', 1796024729046591);
INSERT INTO golden_dump.history VALUES ('waits', 0, 1, 'RunStarted', '\xc301e6e9c35c6c1e1c8c36676f6c64656e5f77616974735f666f725f616e5f757067726164650231206170706c69636174696f6e2f6a736f6e00023100000000', 1796024729084571);
INSERT INTO golden_dump.history VALUES ('waits', 0, 2, 'StepScheduled', '\xc301a7c9932c72ed5c6d18676f6c64656e5f616464233114676f6c64656e5f6164640873746570206170706c69636174696f6e2f6a736f6e00267b226f6e65223a312c226f74686572223a317d0000206b04fdacaee9fd1b8ac9b3c5850dddd80e64656661756c74109a9999999999b93f00000000000008400000000000004e409a9999999999b93f0000086661696c0000000000c0824000000000', 1796024729084571);
INSERT INTO golden_dump.history VALUES ('waits', 0, 3, 'StepCompleted', '\xc3018373d8fd7d6c49b318676f6c64656e5f616464233102206170706c69636174696f6e2f6a736f6e0002320000', 1796024729093023);
INSERT INTO golden_dump.history VALUES ('waits', 0, 4, 'TimerStarted', '\xc3011cdc7e376bb48bcd0e74696d65722331be8efefb89eaca11', 1796024729093023);
INSERT INTO golden_dump.history VALUES ('unclear', 0, 1, 'RunStarted', '\xc301e6e9c35c6c1e1c8c32676f6c64656e5f77616974735f666f725f615f706572736f6e0231206170706c69636174696f6e2f6a736f6e000c22706f73742200000000', 1796024729132446);
INSERT INTO golden_dump.history VALUES ('unclear', 0, 2, 'StepScheduled', '\xc301a7c9932c72ed5c6d20676f6c64656e5f756e636c65617223311c676f6c64656e5f756e636c6561720c656666656374206170706c69636174696f6e2f6a736f6e000c22706f7374220000204e97319e8207bc5e11c7a05c020c3ec90e64656661756c74109a9999999999b93f00000000000008400000000000004e409a9999999999b93f0000086661696c0000000000c082400000021861745f6d6f73745f6f6e636502403063336436613631336663613366663762643665336166373562393439373633', 1796024729132446);
INSERT INTO golden_dump.history VALUES ('unclear', 0, 3, 'StepParked', '\xc301f474594ee6dd895720676f6c64656e5f756e636c6561722331b201776865746865722069742068617070656e656420697320756e636c6561722028436f6e6e656374696f6e52657365744572726f723a20706f7374292c20616e642069747320677561726420616c6c6f7773206f6e6520747279', 1796024729188684);
INSERT INTO golden_dump.inbox OVERRIDING SYSTEM VALUE VALUES (1, 'early', 'm1', 6, 'early', '\xc301dad7bf9cb5171b6c046d310a6561726c79206170706c69636174696f6e2f6a736f6e0020226265666f7265207468652072756e220000', 1796024729216555);
INSERT INTO golden_dump.meta VALUES ('schema', '7');
INSERT INTO golden_dump.meta VALUES ('safe_from', '5');
INSERT INTO golden_dump.meta VALUES ('shards', '8');
INSERT INTO golden_dump.meta VALUES ('installation', '918f94241a0145ee9b199423fed18083');
INSERT INTO golden_dump.meta VALUES ('log_identity', '{"cluster":"c2b4f20aa5547006","pipe.commands.v1":"a646b7da07b79d63","pipe.events.v1":"7f6ca9eb5f3066bf","pipe.results.v1":"392fddbbbd1ed364"}');
INSERT INTO golden_dump.meta VALUES ('log_changed_at', '1796024728968682');
INSERT INTO golden_dump.runs VALUES ('done', 0, 1, 'golden_sum', '1', 'COMPLETED', '{"colour": "blue"}', 1796024728970714, 1796024729046591, NULL);
INSERT INTO golden_dump.runs VALUES ('waits', 0, 0, 'golden_waits_for_an_upgrade', '1', 'RUNNING', '{}', 1796024729084571, NULL, NULL);
INSERT INTO golden_dump.runs VALUES ('unclear', 0, 2, 'golden_waits_for_a_person', '1', 'PARKED', '{}', 1796024729132446, NULL, 'effect_parked');
INSERT INTO golden_dump.shards VALUES (3, 1, 'p-f92e20bc-1bc4-41dd-8348-f5fea39476b2', 0, 0);
INSERT INTO golden_dump.shards VALUES (4, 1, 'p-f92e20bc-1bc4-41dd-8348-f5fea39476b2', 0, 0);
INSERT INTO golden_dump.shards VALUES (5, 1, 'p-f92e20bc-1bc4-41dd-8348-f5fea39476b2', 0, 0);
INSERT INTO golden_dump.shards VALUES (7, 1, 'p-f92e20bc-1bc4-41dd-8348-f5fea39476b2', 0, 0);
INSERT INTO golden_dump.shards VALUES (1, 1, 'p-f92e20bc-1bc4-41dd-8348-f5fea39476b2', 5, 2);
INSERT INTO golden_dump.shards VALUES (0, 1, 'p-f92e20bc-1bc4-41dd-8348-f5fea39476b2', 2, 1);
INSERT INTO golden_dump.shards VALUES (2, 1, 'p-f92e20bc-1bc4-41dd-8348-f5fea39476b2', 2, 1);
INSERT INTO golden_dump.shards VALUES (6, 1, 'p-f92e20bc-1bc4-41dd-8348-f5fea39476b2', 1, 0);
INSERT INTO golden_dump.timers VALUES ('waits', 0, 'timer#1', 0, 4949624729093023);
SELECT pg_catalog.setval('golden_dump.deferred_place_seq', 1, false);
SELECT pg_catalog.setval('golden_dump.effects_place_seq', 1, true);
SELECT pg_catalog.setval('golden_dump.inbox_place_seq', 1, true);
ALTER TABLE ONLY golden_dump.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (run_id, incarnation, step_id);
ALTER TABLE ONLY golden_dump.blobs
    ADD CONSTRAINT blobs_pkey PRIMARY KEY (name);
ALTER TABLE ONLY golden_dump.deaths
    ADD CONSTRAINT deaths_pkey PRIMARY KEY (run_id, incarnation, step_id, process);
ALTER TABLE ONLY golden_dump.deferred
    ADD CONSTRAINT deferred_pkey PRIMARY KEY (place);
ALTER TABLE ONLY golden_dump.deferred
    ADD CONSTRAINT deferred_shard_run_id_identity_key UNIQUE (shard, run_id, identity);
ALTER TABLE ONLY golden_dump.effect_moves
    ADD CONSTRAINT effect_moves_pkey PRIMARY KEY (effect_id, version);
ALTER TABLE ONLY golden_dump.effects
    ADD CONSTRAINT effects_pkey PRIMARY KEY (effect_id);
ALTER TABLE ONLY golden_dump.history
    ADD CONSTRAINT history_pkey PRIMARY KEY (run_id, incarnation, seq);
ALTER TABLE ONLY golden_dump.inbox
    ADD CONSTRAINT inbox_pkey PRIMARY KEY (place);
ALTER TABLE ONLY golden_dump.inbox
    ADD CONSTRAINT inbox_run_id_message_id_key UNIQUE (run_id, message_id);
ALTER TABLE ONLY golden_dump.meta
    ADD CONSTRAINT meta_pkey PRIMARY KEY (key);
ALTER TABLE ONLY golden_dump.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (shard, number);
ALTER TABLE ONLY golden_dump.processes
    ADD CONSTRAINT processes_pkey PRIMARY KEY (process);
ALTER TABLE ONLY golden_dump.runs
    ADD CONSTRAINT runs_pkey PRIMARY KEY (run_id);
ALTER TABLE ONLY golden_dump.shards
    ADD CONSTRAINT shards_pkey PRIMARY KEY (shard);
ALTER TABLE ONLY golden_dump.signals
    ADD CONSTRAINT signals_pkey PRIMARY KEY (run_id, message_id);
ALTER TABLE ONLY golden_dump.timers
    ADD CONSTRAINT timers_pkey PRIMARY KEY (run_id, incarnation, timer_id);
ALTER TABLE ONLY golden_dump.tombstones
    ADD CONSTRAINT tombstones_pkey PRIMARY KEY (run_id);
ALTER TABLE ONLY golden_dump.writer_schemas
    ADD CONSTRAINT writer_schemas_pkey PRIMARY KEY (fingerprint);
CREATE INDEX attempts_by_shard ON golden_dump.attempts USING btree (shard, resend_at);
CREATE INDEX effect_conflicts ON golden_dump.effect_moves USING btree (effect_id) WHERE (what = 'conflict'::text);
CREATE INDEX effects_by_run ON golden_dump.effects USING btree (run_id);
CREATE INDEX effects_held ON golden_dump.effects USING btree (lease_until, shard) WHERE (state = ANY (ARRAY['CLAIMED'::text, 'INFLIGHT'::text, 'RECONCILING'::text]));
CREATE INDEX effects_waiting ON golden_dump.effects USING btree (effect_id) WHERE (state = ANY (ARRAY['IN_DOUBT'::text, 'PARKED'::text]));
CREATE INDEX timers_by_time ON golden_dump.timers USING btree (due_at, timer_id, shard);
