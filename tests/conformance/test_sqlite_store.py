"""The SQLite store holds the laws of the port, and some of its own."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from holdfast.adapters.migrations import migrations
from holdfast.adapters.sqlite import AlreadyRunning, EngineLock, SqliteStore
from holdfast.adapters.sqlite.statements import statement
from holdfast.ports.installation import NewerSchema
from holdfast.ports.journal import RunRow
from holdfast.ports.unavailable import Unavailable
from holdfast.testing.conformance.queries import wait_for_run
from holdfast.testing.conformance.rows import SHARDS, owner
from holdfast.testing.conformance.store import StoreConformance


class TestSqliteStore(StoreConformance):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[SqliteStore]:
        store = SqliteStore(tmp_path / "made" / "holdfast.db")
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

    @pytest.fixture
    async def blank(self, tmp_path: Path) -> SqliteStore:
        return SqliteStore(tmp_path / "blank.db")

    @pytest.fixture
    async def another_blank(self, tmp_path: Path) -> SqliteStore:
        return SqliteStore(tmp_path / "blank.db")

    async def test_a_commit_of_another_wakes_who_waits_within_50_ms(
        self, store: SqliteStore, another_store: SqliteStore
    ) -> None:
        writer = await owner(another_store)
        delays = []
        for n in range(7):
            mark = await store.changed(0)
            waits = asyncio.create_task(wait_for_run(store, f"r{n}", mark))
            await writer.start(f"r{n}")
            committed = time.monotonic()
            await waits
            delays.append(time.monotonic() - committed)
        assert sorted(delays)[len(delays) // 2] < 0.05

    async def test_a_file_of_a_newer_version_is_not_touched(self, store: SqliteStore) -> None:
        await store.file.write(lambda c: c.execute("UPDATE meta SET value = 99 WHERE key IN ('schema', 'safe_from')"))
        await store.close()
        with pytest.raises(NewerSchema, match="schema 99"):
            await store.open()
        with pytest.raises(NewerSchema):
            await store.install(SHARDS)

    async def test_a_file_that_is_no_database_is_told(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("Dear diary, " * 1000)
        with pytest.raises(Unavailable, match=r"notes\.txt is damaged or is no SQLite file"):
            await SqliteStore(path).open()
        assert path.read_text().startswith("Dear diary")

    async def test_a_full_disk_is_told_and_nothing_of_the_batch_is_written(self, store: SqliteStore) -> None:
        writer = await owner(store)
        await store.file.commit(lambda c: c.execute("PRAGMA max_page_count = 1").fetchone())
        batch = writer.batch()
        batch.started = [RunRow(f"r{n}", 0, 0, "order", "1", "RUNNING", {"k": "x" * 9000}, 1) for n in range(50)]
        with pytest.raises(Unavailable, match="disk is full"):
            await store.commit({0: batch})
        assert await store.runs() == []
        await store.file.commit(lambda c: c.execute("PRAGMA max_page_count = 100000").fetchone())
        await writer.commit({0: batch})

    async def test_a_commit_asked_for_before_closing_is_done(self, store: SqliteStore) -> None:
        writer = await owner(store)
        asked = asyncio.create_task(writer.start("r"))
        await asyncio.sleep(0)
        await store.close()
        await asked
        await store.open()
        assert await store.existing(["r"]) == {"r"}

    async def test_a_busy_event_loop_does_not_hold_up_commits(self, store: SqliteStore) -> None:
        async def be_busy() -> None:
            while True:
                turn = time.perf_counter() + 0.0003
                while time.perf_counter() < turn:
                    pass
                await asyncio.sleep(0)

        writer = await owner(store)
        busy = asyncio.create_task(be_busy())
        async with asyncio.timeout(10):
            for n in range(40):
                await writer.start(*(f"r{n}-{m}" for m in range(64)))
        busy.cancel()

    async def test_no_statement_of_the_hot_path_looks_at_every_row(self, store: SqliteStore) -> None:
        names = ("move_shards", "close_attempts", "clear_timers", "take_from_inbox", "trim_outbox", "find_places")
        for name in (*names, "seen_signals", "read_runs", "read_histories"):
            for rows in (1, 64):
                wide = statement(name)
                values = [None] * (rows * wide.width)
                plan = await store.file.ask(partial(explain, wide.wide(rows), values))
                scans = [row[3] for row in plan if row[3].startswith("SCAN")]
                assert set(scans) <= {"SCAN v", f"SCAN {rows} CONSTANT ROWS", "SCAN CONSTANT ROW"}, (name, plan)


def explain(text: str, values: list[None], connection: sqlite3.Connection) -> list[tuple[int, int, int, str]]:
    return connection.execute(f"EXPLAIN QUERY PLAN {text}", values).fetchall()


def test_a_second_engine_on_one_file_is_refused_with_the_first_ones_pid(tmp_path: Path) -> None:
    path = tmp_path / "holdfast.db"
    program = (
        "from holdfast.adapters.sqlite import EngineLock\n"
        f"EngineLock({str(path)!r}).acquire(); print(1, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "1\n"
        with pytest.raises(AlreadyRunning, match=f"process {other.pid} ") as refused:
            EngineLock(path).acquire()
        assert refused.value.pid == other.pid
        other.kill()
        other.wait()
    with EngineLock(path):
        pass


def test_an_adapter_reads_its_migrations_only_if_none_is_missing(tmp_path: Path) -> None:
    (tmp_path / "0001_first.sql").write_text("SELECT 1;")
    (tmp_path / "0003_third.sql").write_text("SELECT 3;")
    with pytest.raises(ValueError, match="without a gap"):
        migrations(tmp_path)
