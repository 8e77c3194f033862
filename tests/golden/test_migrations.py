"""A store of any earlier schema is migrated to today's; what was going on in it goes on."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import msgspec
import psycopg
import pytest
from psycopg import sql

from holdfast.adapters.migrations import Migration, facts_after, pending
from holdfast.adapters.postgres import PostgresLedger, PostgresStore
from holdfast.adapters.postgres.schema import known as known_to_postgres
from holdfast.adapters.sqlite import SqliteLedger, SqliteStore
from holdfast.adapters.sqlite.file import connect
from holdfast.adapters.sqlite.schema import known as known_to_sqlite
from holdfast.core.asks import SUCCEED
from holdfast.core.commands import ResolveEffect
from holdfast.core.payload import Payload
from holdfast.core.run import COMPLETED, PARKED
from holdfast.ports.installation import NewerSchema
from holdfast.ports.ledger import Ledger
from holdfast.ports.store import Store
from tests.golden.stores import DONE, DUMPS, EARLY, NAMESPACE, UNCLEAR, WAITS, dump_of, engine
from tests.golden.telling import told
from tests.integration.running import SHARDS, Process, assert_whole, signal_of
from tests.servers import Servers

told()  # the workflows of the dumps' runs
HAS_A_LEDGER = 2
BY_NUMBER: dict[str, Callable[[], tuple[Migration, ...]]] = {"sqlite": known_to_sqlite, "postgres": known_to_postgres}


def dumps(adapter: str) -> list[int]:
    return sorted(int(path.stem.rpartition("-")[2]) for path in DUMPS.glob(f"{adapter}-*.sql"))


@pytest.mark.parametrize("adapter", BY_NUMBER)
def test_every_schema_has_a_dump(adapter: str) -> None:
    """A new migration: record one, while its code is here (README.md of this folder)."""
    assert dumps(adapter) == [one.number for one in BY_NUMBER[adapter]()]


@asynccontextmanager
async def sqlite(folder: Path, number: int) -> AsyncIterator[tuple[Store, Ledger]]:
    path = folder / "old.db"
    with closing(connect(path, make=True)) as link:
        link.executescript(dump_of("sqlite", number).read_text())
    store = SqliteStore(path)
    assert await store.install(SHARDS) == [one.name for one in known_to_sqlite()[number:]]
    await store.open()
    try:
        yield store, SqliteLedger(store)
    finally:
        await store.close()


@asynccontextmanager
async def postgres(servers: Servers, namespace: str, number: int) -> AsyncIterator[tuple[Store, Ledger]]:
    text = dump_of("postgres", number).read_text().replace(f"{NAMESPACE}.", f"{namespace}.")
    async with await psycopg.AsyncConnection.connect(servers.postgres, autocommit=True) as link:
        await link.execute(text.replace(f"CREATE SCHEMA {NAMESPACE}", f"CREATE SCHEMA {namespace}").encode())
        store = PostgresStore(servers.postgres, namespace)
        assert await store.install(SHARDS) == [one.name for one in known_to_postgres()[number:]]
        await store.open()
        try:
            yield store, PostgresLedger(store)
        finally:
            await store.close()
        await link.execute(sql.SQL("DROP SCHEMA {0} CASCADE").format(sql.Identifier(namespace)))


@pytest.mark.parametrize("number", dumps("sqlite"))
async def test_a_file_of_an_earlier_schema_goes_on(tmp_path: Path, number: int) -> None:
    async with sqlite(tmp_path, number) as (store, ledger):
        await goes_on(store, ledger, tmp_path, number)


@pytest.mark.parametrize("number", dumps("postgres"))
async def test_a_postgresql_schema_of_an_earlier_number_goes_on(
    servers: Servers, namespace: str, tmp_path: Path, number: int
) -> None:
    async with postgres(servers, namespace, number) as (store, ledger):
        await goes_on(store, ledger, tmp_path, number)


async def goes_on(store: Store, ledger: Ledger, folder: Path, number: int) -> None:
    """All that the store held is read, and each of its runs comes to its end."""
    parked = {UNCLEAR: PARKED} if number >= HAS_A_LEDGER else {}
    rows = {row.run_id: row for row in await store.runs()}
    assert {run: row.status for run, row in rows.items()} == {DONE: COMPLETED, WAITS: "SUSPENDED", **parked}
    assert rows[DONE].attributes == {"colour": "blue"}
    assert [row.run_id for row in await store.due_timers(range(SHARDS), 2**62, 9)] == [WAITS]
    assert [row.name for row in await store.inbox([EARLY])] == ["early"]
    assert await store.meta() == {**(await store.meta()), **facts_after(known_to_sqlite()[-1], known_to_sqlite())}

    async with engine(store, ledger, folder) as running:
        await running.submit(WAITS, signal_of("go", 7))
        assert await running.result(WAITS) == [2, 7]
        await running.start("golden_hears", EARLY, ["early"])
        assert await running.result(EARLY) == ["before the run"]
        for run in parked:
            await resolved(running, run)
            assert await running.result(run) == "seen in the post"
        await assert_whole(store, DONE, WAITS, EARLY, *parked)


async def resolved(running: Process, run: str) -> None:
    """A person says what became of the effect; that it is parked is told by the ledger as of old."""
    (story,) = await running.ledger.stories(run)
    command = ResolveEffect(
        step_id=story.effect.step_id,
        version=story.effect.version,
        verdict=SUCCEED,
        by="ada",
        reason="looked",
        result=Payload(data=msgspec.json.encode("seen in the post")),
        error=None,
    )
    await running.submit(run, command)


# ------------------------------------------------------------------------------------------- taking a release back

FIRST = Migration(1, "0001_tables", "")
ONLY_ADDS = Migration(2, "0002_more", "-- safe from 1\nCREATE TABLE more (x INT);")
CHANGES = Migration(3, "0003_other", "-- a table gets another meaning\n")
THEN_ADDS = Migration(4, "0004_more", "-- safe from 2\n")
ALL = (FIRST, ONLY_ADDS, CHANGES, THEN_ADDS)


def test_a_release_goes_on_with_a_newer_schema_that_says_that_it_is_safe() -> None:
    facts = facts_after(ONLY_ADDS, ALL)
    assert facts == {"schema": "2", "safe_from": "1"}
    assert pending((FIRST,), facts, "here") == ()


@pytest.mark.parametrize("newest", [CHANGES, THEN_ADDS])
def test_one_migration_that_is_not_safe_stops_all_releases_before_it(newest: Migration) -> None:
    facts = facts_after(newest, ALL)
    assert facts["safe_from"] == "3"
    with pytest.raises(NewerSchema, match=f"schema {newest.number}"):
        pending((FIRST, ONLY_ADDS), facts, "here")
    assert pending((FIRST, ONLY_ADDS, CHANGES), facts, "here") == ()


def test_a_newer_schema_that_does_not_say_so_is_not_safe() -> None:
    with pytest.raises(NewerSchema):
        pending((FIRST,), {"schema": "2"}, "here")


async def test_a_file_with_a_safe_newer_schema_is_opened_and_installed_over(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "newer.db")
    await store.install(SHARDS)
    with closing(connect(store.file.path, make=False)) as link:
        link.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    assert await store.install(SHARDS) == []
    await store.open()
    assert await store.runs() == []
    await store.close()
