"""The ledger in the SQLite file holds the laws of the port, and some of its own."""

import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.adapters.sqlite import SqliteLedger, SqliteStore
from holdfast.adapters.sqlite.file import connect
from holdfast.adapters.sqlite.schema import known, names
from holdfast.adapters.sqlite.statements import change_effects, statement
from holdfast.core.asks import Cancel, Doubt, Prove
from holdfast.core.effects import SUCCEEDED
from holdfast.ports.installation import NotInstalled
from holdfast.ports.unavailable import Unavailable
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
        names = ("read_effects", "effects_of_run", "moves_of_run", "moves_of_effect")
        statements = {
            name: statement(name) for name in (*names, "list_waiting_effects", "lapsed_effects", "read_processes")
        }
        for name, asked in (*statements.items(), ("change_effects", change_effects(("state", "lease_until")))):
            values: Any = dict.fromkeys(("after", "name", "states", "limit"))
            if not name.startswith("list"):
                values = [None] * asked.text.count("?")
            plan_ = await store.file.ask(partial(explain, asked.text, values))
            scans = [row[3] for row in plan_ if row[3].startswith("SCAN")]
            assert set(scans) <= {"SCAN v", "SCAN CONSTANT ROW", "SCAN json_each VIRTUAL TABLE INDEX 1:"}, (name, plan_)

    async def test_what_another_process_has_moved_is_read_again(
        self, another_store: SqliteStore, ledger: SqliteLedger, writer: Writer
    ) -> None:
        await plan(writer, effect("a"))
        [begun] = await ledger.ask([("a", begin())])
        assert begun.effect is not None
        await SqliteLedger(another_store).ask([("a", Prove(who="other", result=RECEIPT))])
        [answer] = await ledger.ask([("a", Doubt(who="worker", fence=begun.effect.fence))])
        assert answer.effect is not None
        assert (answer.effect.state, answer.unmoved) == (SUCCEEDED, "fence")

    async def test_what_was_rolled_back_is_not_remembered(
        self, store: SqliteStore, ledger: SqliteLedger, writer: Writer
    ) -> None:
        await plan(writer, effect("there"))
        await store.file.commit(lambda c: c.execute("PRAGMA max_page_count = 1").fetchone())
        batch = writer.batch()
        batch.planned = [effect("lost")]
        batch.asked = [("there", msgspec.structs.replace(begin(), request=b"x" * 1_000_000))]
        with pytest.raises(Unavailable, match="disk is full"):
            await store.commit({0: batch})
        await store.file.commit(lambda c: c.execute("PRAGMA max_page_count = 100000").fetchone())
        lost, there = await ledger.ask([("lost", begin()), ("there", begin())])
        assert (lost.unmoved, there.unmoved) == ("unknown", "")

    async def test_a_file_that_was_closed_meanwhile_is_read_again(
        self, store: SqliteStore, another_store: SqliteStore, ledger: SqliteLedger, writer: Writer
    ) -> None:
        await plan(writer, effect("a"))
        await ledger.ask([("a", begin())])
        await store.close()
        await SqliteLedger(another_store).ask([("a", Prove(who="other", result=RECEIPT))])
        await store.open()
        [answer] = await ledger.ask([("a", Prove(who="worker", result=RECEIPT))])
        assert answer.unmoved == "settled"


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
    assert await store.pending_migrations() == names()[1:]

    assert await store.install(SHARDS) == names()[1:]

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
