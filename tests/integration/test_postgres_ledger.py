"""The ledger in PostgreSQL when locks, connections and older versions stand in its way."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import sql

from holdfast.adapters.postgres import PostgresLedger, PostgresStore
from holdfast.adapters.postgres.schema import known, names
from holdfast.core.asks import Cancel, Close, Prove
from holdfast.core.effects import INFLIGHT, SUCCEEDED
from holdfast.ports.installation import NotInstalled
from holdfast.ports.journal import BadData, Committed
from holdfast.ports.unavailable import Unavailable
from holdfast.testing.conformance.effects import RECEIPT, begin, effect, plan
from holdfast.testing.conformance.rows import SHARDS, Writer, owner
from tests.integration.postgres import CutCable, Link, opened, waits_for_a_lock
from tests.servers import Servers

pytestmark = pytest.mark.servers


@pytest.fixture
async def store(servers: Servers, namespace: str) -> AsyncIterator[PostgresStore]:
    store = await opened(servers.postgres, namespace)
    yield store
    await store.close()


@pytest.fixture
async def ledger(store: PostgresStore) -> PostgresLedger:
    """The ledger with two planned effects, `a` and `b`."""
    await plan(await owner(store), effect("a"), effect("b"))
    return PostgresLedger(store)


@pytest.fixture
async def writer(store: PostgresStore, ledger: PostgresLedger) -> Writer:
    return await owner(store)


@pytest.fixture
async def link(store: PostgresStore, servers: Servers, namespace: str) -> AsyncIterator[Link]:
    """A connection beside the store, in a transaction."""
    async with await Link.connect(servers.postgres) as link:
        await link.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(namespace)))
        await link.commit()
        yield link


async def state_of(ledger: PostgresLedger, effect_id: str) -> str:
    found = (await ledger.look([effect_id]))[effect_id].effect
    assert found is not None
    return found.state


async def test_who_waited_for_a_row_decides_on_what_it_became_at_a_time_after_the_wait(
    store: PostgresStore, ledger: PostgresLedger, link: Link
) -> None:
    await link.execute("SELECT FROM effects WHERE effect_id = 'b' FOR UPDATE")
    asked = asyncio.create_task(ledger.ask([("a", begin()), ("b", begin())]))
    await waits_for_a_lock(link)
    let_go = await store.now()
    await link.execute("UPDATE effects SET state = 'CANCELLED', fence = 1 WHERE effect_id = 'b'")
    await link.commit()
    a, b = await asked
    assert (a.unmoved, b.unmoved) == ("", "settled")
    assert a.now == b.now >= let_go
    assert a.effect is not None
    assert a.effect.first_sent_at == a.now


async def test_a_cancelled_asker_leaves_no_lock_and_no_move(ledger: PostgresLedger, link: Link) -> None:
    await link.execute("SELECT FROM effects WHERE effect_id = 'b' FOR UPDATE")
    asked = asyncio.create_task(ledger.ask([("a", begin()), ("b", begin())]))
    await waits_for_a_lock(link)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await link.commit()
    assert [answer.unmoved for answer in await ledger.ask([("a", begin()), ("b", begin())])] == ["", ""]


async def test_an_asker_whose_backend_is_killed_moved_nothing(ledger: PostgresLedger, link: Link) -> None:
    await link.execute("SELECT FROM effects WHERE effect_id = 'b' FOR UPDATE")
    asked = asyncio.create_task(ledger.ask([("a", begin()), ("b", begin())]))
    await link.execute("SELECT pg_terminate_backend(%s)", [await waits_for_a_lock(link)])
    with pytest.raises(Unavailable):
        await asked
    await link.commit()
    assert [answer.unmoved for answer in await ledger.ask([("a", begin()), ("b", begin())])] == ["", ""]


async def test_when_the_answer_is_lost_it_is_told_as_such(
    servers: Servers, namespace: str, ledger: PostgresLedger
) -> None:
    known_ = psycopg.conninfo.conninfo_to_dict(servers.postgres)
    async with CutCable(str(known_["host"]), int(str(known_["port"]))) as cable:
        far_store = await opened(f"postgresql://holdfast@127.0.0.1:{cable.port}/holdfast", namespace)
        far = PostgresLedger(far_store)
        await far.ask([("a", begin())])
        cable.cut = True
        with pytest.raises(Unavailable):
            await far.ask([("a", Prove(who="worker", result=RECEIPT))])
        cable.cut = False
        await far.ask([("a", Prove(who="worker", result=RECEIPT))])
        await far_store.close()
    assert await state_of(ledger, "a") == SUCCEEDED


async def test_rows_that_are_not_touched_fail_the_whole(
    ledger: PostgresLedger, store: PostgresStore, writer: Writer, link: Link
) -> None:
    await link.execute("CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    await link.execute("CREATE TRIGGER keep BEFORE UPDATE ON effects FOR EACH ROW WHEN (old.effect_id = 'b') "
                       "EXECUTE FUNCTION keep()")  # fmt: skip
    await link.commit()
    with pytest.raises(BadData, match="only 1 of the effects are still what was decided on"):
        await ledger.ask([("a", begin()), ("b", begin())])
    batch = writer.batch()
    batch.asked = [("a", Cancel(who="owner")), ("b", Cancel(who="owner"))]
    refused = await writer.try_commit({0: batch})
    assert isinstance(refused, BadData)
    told = await ledger.stories("r")
    assert [(story.effect, story.moves) for story in told] == [(effect("a"), ()), (effect("b"), ())]
    assert (await store.shards([0]))[0].last_batch == batch.number - 1
    await ledger.ask([("a", begin())])


async def test_a_value_that_is_refused_moves_nothing_and_the_ledger_goes_on(ledger: PostgresLedger) -> None:
    with pytest.raises(BadData):
        await ledger.ask([("a", begin()), ("b", begin(who="NUL \x00 in it"))])
    await ledger.ask([("b", begin())])
    assert (await state_of(ledger, "a"), await state_of(ledger, "b")) == ("PLANNED", INFLIGHT)


async def test_a_commit_that_asks_waits_for_its_rows_before_it_holds_its_shard(
    store: PostgresStore, ledger: PostgresLedger, writer: Writer, link: Link
) -> None:
    await link.execute("UPDATE effects SET state = 'INFLIGHT', fence = 1 WHERE effect_id = 'a'")
    batch = writer.batch()
    batch.asked = [("a", Close(who="owner"))]
    commit = asyncio.create_task(writer.try_commit({0: batch}))
    await waits_for_a_lock(link)
    assert (await store.shards([0]))[0].last_batch == batch.number - 1  # answers at once: nobody holds the shard
    await link.commit()
    answer = await commit
    assert isinstance(answer, Committed)
    assert answer.answers["a"].unmoved == "state"


async def test_a_schema_of_the_first_version_gets_a_ledger_while_that_version_goes_on(
    servers: Servers, namespace: str
) -> None:
    async with await Link.connect(servers.postgres) as older:
        await older.execute(sql.SQL("CREATE SCHEMA {0}").format(sql.Identifier(namespace)))
        await older.execute(sql.SQL("SET search_path TO {0}").format(sql.Identifier(namespace)))
        await older.execute(known()[0].sql.encode())
        await older.execute("INSERT INTO meta VALUES ('schema', '1'), ('shards', '8')")
        await older.execute("INSERT INTO shards SELECT * FROM generate_series(0, 7)")
        await older.execute("INSERT INTO history VALUES ('r', 0, 1, 'RunStarted', '', 1)")
        await older.execute("INSERT INTO runs VALUES ('r', 0, 0, 'order', '1', 'RUNNING', '{}', 1)")
        await older.commit()
        store = PostgresStore(servers.postgres, namespace)
        with pytest.raises(NotInstalled, match="older schema, 0002_ledger"):
            await store.open()
        assert await store.pending_migrations() == names()[1:]

        await older.execute("INSERT INTO history VALUES ('r', 0, 2, 'RunCompleted', '', 2)")
        await older.execute("UPDATE shards SET last_batch = 1 WHERE shard = 0")
        assert await store.install(SHARDS) == names()[1:]  # beside the older version's open transaction
        await older.commit()

        await store.open()
        assert [event.seq for event in (await store.load(["r"]))["r"].history] == [1, 2]
        await plan(await owner(store), effect("a"))
        assert [story.effect for story in await PostgresLedger(store).stories("r")] == [effect("a")]
        await store.close()
