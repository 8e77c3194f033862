-- The first statement of an effect's transaction. Tells the schema of the ledger's table as the role's own search path
-- finds it, so that an effect may set another; NULL: there is none. A client whose machine has vanished keeps its row,
-- and whoever waits for it, no longer than 25 s: the system's own two hours are too long.
SELECT
    (SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass('holdfast_effects')),
    set_config('tcp_keepalives_idle', '10', true),
    set_config('tcp_keepalives_interval', '5', true),
    set_config('tcp_keepalives_count', '3', true);
