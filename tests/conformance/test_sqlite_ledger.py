"""The ledger in the SQLite file holds the laws of the port, and some of its own."""

import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.sqlite import SqliteLedger, SqliteStore
from holdfast.adapters.sqlite.file import connect
from holdfast.adapters.sqlite.schema import known
from holdfast.adapters.sqlite.statements import statement
from holdfast.core.asks import Cancel, Prove
from holdfast.ports.store import NotInstalled
from holdfast.testing.conformance.effects import RECEIPT, begin, effect, plan
from holdfast.testing.conformance.ledger import LedgerConformance
from holdfast.testing.conformance.rows import SHARDS, Writer, owner


class TestSqliteLedger(LedgerConformance):
    def ledger_of(self, store: SqliteStore) -> SqliteLedger:
        return SqliteLedger(store)

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[SqliteStore]:
        store = SqliteStore(tmp_path / "holdfast.db")
        await store.install(SHARDS)
        await store.open()
        yield store
        await store.close()

    @pytest.fixture
    async def another_store(self, store: SqliteStore) -> AsyncIterator[SqliteStore]:
        another = SqliteStore(store.file.path)
        await another.open()
        yield another
        await another.close()

    async def test_refused_moves_are_counted_by_reason_and_logged_and_duplicates_are_not(
        self, store: SqliteStore, ledger: SqliteLedger, writer: Writer, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "holdfast")
        await plan(writer, effect("a"))
        await ledger.ask([("a", begin()), ("a", begin()), ("nobody", begin())])
        batch = writer.batch()
        batch.asked = [
            ("a", Cancel(who="owner")),
            ("a", Prove(who="worker", result=RECEIPT)),
            ("a", Cancel(who="owner")),
        ]
        await writer.commit({0: batch})
        assert ledger.refusals.counts == {"state": 2, "unknown": 1}
        assert caplog.messages == [
            "effect a refuses to move: begin of worker (state)",
            "effect nobody refuses to move: begin of worker (unknown)",
            "effect a refuses to move: cancel of owner (state)",
        ]

    async def test_no_statement_about_effects_looks_at_every_row(self, store: SqliteStore) -> None:
        names = ("read_effects", "change_effects", "effects_of_run", "moves_of_run", "moves_of_effect")
        for name in (*names, "list_waiting_effects", "lapsed_effects", "read_processes"):
            asked = statement(name)
            values: Any = dict.fromkeys(("after", "name", "states", "limit"))
            if not name.startswith("list"):
                values = [None] * asked.text.count("?")
            plan_ = await store.file.ask(partial(explain, asked.text, values))
            scans = [row[3] for row in plan_ if row[3].startswith("SCAN")]
            assert set(scans) <= {"SCAN v", "SCAN CONSTANT ROW", "SCAN json_each VIRTUAL TABLE INDEX 1:"}, (name, plan_)


def explain(text: str, values: Any, connection: sqlite3.Connection) -> list[tuple[int, int, int, str]]:
    return connection.execute(f"EXPLAIN QUERY PLAN {text}", values).fetchall()


@pytest.fixture
def first_schema(tmp_path: Path) -> Path:
    """A file as the first version left it, with a run in it."""
    path = tmp_path / "first.db"
    with closing(connect(path, make=True)) as link:
        link.executescript(known()[0].sql)
        link.execute("INSERT INTO meta VALUES ('schema', '1'), ('shards', '8')")
        link.executemany("INSERT INTO shards (shard) VALUES (?)", [(n,) for n in range(SHARDS)])
    return path


async def test_a_file_of_the_first_schema_gets_a_ledger_and_keeps_what_it_held(first_schema: Path) -> None:
    store = SqliteStore(first_schema)
    await store.file.open()  # as the older version did, which knows of no further migration
    await (await owner(store)).start("r")
    await store.close()
    with pytest.raises(NotInstalled, match="older schema, 0002_ledger"):
        await store.open()
    assert await store.pending_migrations() == ["0002_ledger", "0003_conflicts"]

    assert await store.install(SHARDS) == ["0002_ledger", "0003_conflicts"]

    await store.open()
    assert [event.type for event in (await store.load(["r"]))["r"].history] == ["RunStarted"]
    await plan(await owner(store), effect("a"))
    assert [story.effect for story in await SqliteLedger(store).stories("r")] == [effect("a")]
    await store.close()


async def test_the_older_version_goes_on_while_the_ledger_is_installed(first_schema: Path) -> None:
    older, newer = SqliteStore(first_schema), SqliteStore(first_schema)
    await older.file.open()
    writer = await owner(older)
    await writer.start("before")
    await newer.install(SHARDS)
    await writer.start("after")
    assert await older.existing(["before", "after"]) == {"before", "after"}
    await older.close()
