"""The PostgreSQL store when connections, servers and other owners do their worst."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from holdfast.adapters.postgres import PostgresStore
from holdfast.adapters.postgres.commit import laid_out, moves_laid_out
from holdfast.adapters.postgres.statements import Statement, statement
from holdfast.ports.installation import NewerSchema
from holdfast.ports.journal import BadData, Committed, Fenced, ShardBatch
from holdfast.ports.judging import judge
from holdfast.ports.store import Store
from holdfast.ports.unavailable import Unavailable
from holdfast.testing.conformance.effects import begin, effect
from holdfast.testing.conformance.journal import everything
from holdfast.testing.conformance.rows import SHARDS, Writer, event, owner, run, waiting
from tests.integration.postgres import CutCable, Link, opened, waits_for_a_lock
from tests.servers import Servers

pytestmark = pytest.mark.servers


@pytest.fixture
async def store(servers: Servers, namespace: str) -> AsyncIterator[PostgresStore]:
    store = await opened(servers.postgres, namespace)
    yield store
    await store.close()


@pytest.fixture
async def another_store(store: PostgresStore, servers: Servers, namespace: str) -> AsyncIterator[PostgresStore]:
    another = await opened(servers.postgres, namespace)
    yield another
    await another.close()


@pytest.fixture
async def link(store: PostgresStore, servers: Servers, namespace: str) -> AsyncIterator[Link]:
    """A connection beside the stores, in a transaction."""
    async with await Link.connect(servers.postgres) as link:
        await link.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(namespace)))
        await link.commit()
        yield link


async def test_when_the_answer_is_lost_the_last_batch_tells_and_a_second_try_does_nothing(
    store: PostgresStore, servers: Servers, namespace: str
) -> None:
    known = psycopg.conninfo.conninfo_to_dict(servers.postgres)
    async with CutCable(str(known["host"]), int(str(known["port"]))) as cable:
        far = await opened(f"postgresql://holdfast@127.0.0.1:{cable.port}/holdfast", namespace)
        writer = await owner(far, 0)
        await writer.start("before")
        batch = writer.batch()
        batch.inbox_put = [waiting("q", "m")]
        await writer.commit({0: batch})  # prepared, so that the next one is a single question
        batch = writer.batch()
        batch.inbox_put = [waiting("r", "m")]
        cable.cut = True

        with pytest.raises(Unavailable):
            await far.commit({0: batch})

        cable.cut = False
        assert (await store.shards([0]))[0].last_batch == batch.number
        assert await far.commit({0: batch}) == Fenced(frozenset({0}))
        assert await store.inbox(["r"]) == batch.inbox_put
        writer.numbers[0] = batch.number
        await writer.start("after")
        await far.close()


async def test_the_last_batch_waits_for_a_commit_that_is_on_its_way(store: PostgresStore, link: Link) -> None:
    await owner(store, 0)
    await link.execute("UPDATE shards SET last_batch = 1 WHERE shard = 0")
    asked = asyncio.create_task(store.shards([0]))
    await waits_for_a_lock(link)
    await link.commit()
    assert (await asked)[0].last_batch == 1


async def test_a_commit_whose_backend_is_killed_is_not_there_and_succeeds_again(
    store: PostgresStore, link: Link
) -> None:
    writer = await owner(store, 0)
    await link.execute("SELECT FROM shards WHERE shard = 0 FOR UPDATE")
    batch = {0: everything(writer.batch(), "r", 0)}
    commit = asyncio.create_task(store.commit(batch))
    await link.execute("SELECT pg_terminate_backend(%s)", [await waits_for_a_lock(link)])
    with pytest.raises(Unavailable):
        await commit
    await link.commit()
    assert (await store.shards([0]))[0].last_batch == 0
    await writer.commit(batch)


async def test_a_cancelled_commit_leaves_nothing_behind_and_the_next_one_goes_through(
    store: PostgresStore, link: Link
) -> None:
    writer = await owner(store, 0)
    await link.execute("SELECT FROM shards WHERE shard = 0 FOR UPDATE")
    commit = asyncio.create_task(store.commit({0: everything(writer.batch(), "r", 0)}))
    await waits_for_a_lock(link)
    commit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await commit
    await link.commit()
    assert (await store.shards([0]))[0].last_batch == 0
    assert await store.existing(["r"]) == frozenset()
    await writer.start("r")


async def test_a_zombie_that_waits_while_its_shard_is_taken_is_fenced(store: PostgresStore, link: Link) -> None:
    writer = await owner(store, 0, 1)
    await link.execute("UPDATE shards SET epoch = epoch + 1, owner = 'two' WHERE shard = 1")
    batch = {n: everything(writer.batch(n), f"r{n}", n) for n in (0, 1)}
    commit = asyncio.create_task(store.commit(batch))
    await waits_for_a_lock(link)
    await link.commit()
    assert await commit == Fenced(frozenset({1}))
    assert await store.existing(["r0", "r1"]) == frozenset()
    assert {row.last_batch for row in (await store.shards([0, 1])).values()} == {0}


async def test_a_commit_that_waited_for_its_shard_and_still_owns_it_is_written_whole(
    store: PostgresStore, link: Link
) -> None:
    writer = await owner(store, 0, 1)
    await link.execute("UPDATE shards SET published = published WHERE shard = 1")
    batch = {n: everything(writer.batch(n), f"r{n}", n) for n in (0, 1)}
    commit = asyncio.create_task(store.commit(batch))
    await waits_for_a_lock(link)
    await link.commit()
    assert await commit == Committed()
    assert await store.existing(["r0", "r1"]) == {"r0", "r1"}
    assert {row.last_batch for row in (await store.shards([0, 1])).values()} == {1}


async def test_an_earlier_try_that_arrives_late_is_fenced_by_its_number(
    store: PostgresStore, another_store: PostgresStore
) -> None:
    writer = await owner(store, 0)
    late = writer.batch()
    late.inbox_put = [waiting("r", "m")]
    await writer.start("a")
    await writer.start("b")
    assert await another_store.commit({0: late}) == Fenced(frozenset({0}))
    assert (await store.shards([0]))[0].last_batch == 2


async def test_owners_with_crossed_sets_of_shards_do_not_deadlock(
    store: PostgresStore, another_store: PostgresStore
) -> None:
    one, two = await owner(store, 0, 2), await owner(another_store, 1, 3, name="two")

    async def insist(writer: Writer, order: list[int]) -> set[Fenced | Committed | BadData]:
        batch = {n: ShardBatch(writer.epochs.get(n, 0), 1, 0) for n in order}
        return {await writer.try_commit(batch) for _ in range(60)}

    async def take_over(store: Store) -> None:
        for _ in range(30):
            await store.take([7, 5, 6, 4], "somebody")

    answers = await asyncio.gather(
        insist(one, [0, 1, 2, 3]), insist(two, [3, 2, 1, 0]), take_over(store), take_over(another_store)
    )
    assert answers[0] == {Fenced(frozenset({1, 3}))}
    assert answers[1] == {Fenced(frozenset({0, 2}))}
    assert {row.epoch for row in (await store.shards([4, 5, 6, 7])).values()} == {60}


async def test_bad_data_of_one_run_of_256_writes_nothing_and_the_rest_can_be_committed(store: PostgresStore) -> None:
    writer = await owner(store, *range(SHARDS))

    def batch_of(numbers: list[int]) -> dict[int, ShardBatch]:
        batch: dict[int, ShardBatch] = {}
        for n in numbers:
            shard = n % SHARDS
            batch[shard] = everything(batch.get(shard) or writer.batch(shard), f"r{n}", shard)
            if n == 77:
                batch[shard].started[-1].attributes["note"] = "NUL \x00 in it"
        return batch

    with pytest.raises(BadData):
        await store.commit(batch_of(list(range(256))))
    assert await store.runs() == []
    assert {row.last_batch for row in (await store.shards(range(SHARDS))).values()} == {0}
    await writer.commit(batch_of([n for n in range(256) if n != 77]))
    assert len(await store.runs(limit=1000)) == 255


async def test_a_schema_of_a_newer_version_is_not_touched(store: PostgresStore, link: Link) -> None:
    await link.execute("UPDATE meta SET value = '99' WHERE key IN ('schema', 'safe_from')")
    await link.commit()
    await store.close()
    with pytest.raises(NewerSchema, match="schema 99"):
        await store.open()
    with pytest.raises(NewerSchema):
        await store.install(SHARDS)


async def test_a_server_that_is_not_there_is_told_in_one_line() -> None:
    unused_port = 1
    store = PostgresStore(f"postgresql://holdfast:secret@127.0.0.1:{unused_port}/holdfast", "holdfast")
    with pytest.raises(Unavailable, match=f"127.0.0.1:{unused_port}") as told:
        await store.open()
    assert "secret" not in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["", "pg_temp", "a b", 'x"; DROP SCHEMA public', "1st", "ü", "n" * 64])
def test_what_cannot_name_a_schema_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="namespace"):
        PostgresStore("postgresql://127.0.0.1/holdfast", name)


async def test_every_part_of_a_commit_and_every_question_is_carried_by_an_index(store: PostgresStore) -> None:
    writer = await owner(store, 0)
    batch = everything(writer.batch(), "r", 0)
    batch.changed = [run("q")]
    batch.events.append(event("q", 1))
    batch.attempts_closed, batch.timers_cleared = [("q", 0, "s")], [("q", 0, "t")]
    batch.inbox_taken, batch.number = [("q", "m")], 16
    batch.planned = [effect("new")]
    moves = judge({"a": effect("a")}, [("a", begin())], now=1)
    commit, values = laid_out({0: batch}, moves)
    asked: list[tuple[Statement, Mapping[str, object]]] = [(commit, values), moves_laid_out(moves)]
    lists = {"shards": values["fence_shard"], "run_ids": values["history_run_id"]}
    names = {"message_ids": lists["run_ids"], "names": lists["run_ids"], "types": lists["run_ids"]}
    names |= {"effect_ids": lists["run_ids"], "states": lists["run_ids"]}
    rest = {"until": 1, "before": 1, "since": 0, "limit": 1, "run_id": "", "incarnation": 0}
    rest |= {"effect_id": "a", "last": 0, "after": "", "shard": 0, "number": 0, "due_at": 0, "timer_id": ""}
    lists |= {"resend_ats": lists["shards"], "incarnations": lists["shards"], "step_ids": lists["run_ids"]}
    given: dict[str, object] = {**lists, **names, **rest, "name": None, "workflow": None, "status": None}
    questions = (
        "read_shards", "read_outbox", "read_runs", "read_histories", "existing_runs", "read_inbox", "expired_inbox",
        "seen_signals", "due_timers", "open_attempts", "read_attempts", "list_runs", "history_between",
        "read_blobs", "lock_effects", "read_effects", "read_effect", "moves_of_effect", "effects_of_run",
        "moves_of_run", "list_effects", "list_waiting_effects", "lapsed_effects", "read_processes",
    )  # fmt: skip
    asked.extend((statement(name), given) for name in questions)
    async with store.questions.lend() as connection:  # plans are those of the store's own sessions
        for question, parameters in asked:
            explain = Statement(b"EXPLAIN " + question.sql, question.names)
            plan = [line for (line,) in await connection.run(explain, parameters)]
            assert not [line for line in plan if "Seq Scan" in line], plan


@pytest.fixture
def own_postgres() -> Iterator[Servers]:
    """A server to restart, without the other two."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-tests-"))
    folder.chmod(0o755)
    own = Servers(folder)
    own.start("postgres")
    yield own
    own.wipe("postgres")
    shutil.rmtree(folder, ignore_errors=True)


async def test_after_a_restart_of_the_server_calls_go_through_again(own_postgres: Servers, namespace: str) -> None:
    store = await opened(own_postgres.postgres, namespace)
    writer = await owner(store, 0)
    await asyncio.gather(*(store.existing(["r"]) for _ in range(8)))
    await writer.start("before")
    own_postgres.kill("postgres")
    with pytest.raises(Unavailable):
        await writer.start("during")
    with pytest.raises(Unavailable):
        await store.shards([0])
    own_postgres.start("postgres")
    assert (await store.shards([0]))[0].last_batch == 1
    await writer.start("during")
    assert await store.existing(["before", "during"]) == {"before", "during"}
    own_postgres.stop("postgres")
    own_postgres.start("postgres")
    for ask in (store.now, store.meta):  # the idle connections of each kind were cut off: one failure at most
        try:
            await ask()
        except Unavailable:
            await ask()
    await store.close()
