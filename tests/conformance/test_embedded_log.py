"""The embedded log holds the laws of the port, and some of its own."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.adapters.sqlite import EmbeddedLog, SqliteStore
from holdfast.ports.log import Outgoing, Topic
from holdfast.testing.conformance.log import PARTITIONS, Group, LogConformance, numbered, take, watching


class TestEmbeddedLog(LogConformance):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[SqliteStore]:
        store = SqliteStore(tmp_path / "holdfast.db")
        await store.install(PARTITIONS)
        await store.open()
        yield store
        await store.close()

    @pytest.fixture
    async def topics(self, store: SqliteStore) -> list[Topic]:
        made = [Topic(name, PARTITIONS) for name in ("h.commands.v1", "h.results.v1", "h.tasks.default.v1")]
        await EmbeddedLog(store).install(made)
        return made

    @pytest.fixture
    async def log(self, store: SqliteStore) -> AsyncIterator[EmbeddedLog]:
        log = EmbeddedLog(store)
        await log.open()
        yield log
        await log.close()

    @pytest.fixture
    async def another_log(self, store: SqliteStore) -> AsyncIterator[EmbeddedLog]:
        another = SqliteStore(store.file.path)
        await another.open()
        log = EmbeddedLog(another)
        await log.open()
        yield log
        await log.close()
        await another.close()

    async def test_what_the_history_holds_is_not_written_again(self, log: EmbeddedLog, topics: list[Topic]) -> None:
        tail = await watching(log, topics[0])
        stored = Outgoing(topics[0].name, b"k", b"0", stored=True)
        await log.publish([stored])
        await log.publish([stored, numbered(topics[0], 1), stored, numbered(topics[0], 2)])
        assert [record.value for record in await take(tail, 2)] == [b"1", b"2"]
        await tail.close()

    async def test_acknowledged_records_and_finished_tasks_leave_the_file(
        self, log: EmbeddedLog, topics: list[Topic], store: SqliteStore
    ) -> None:
        member = await Group().join(log, topics)
        worker = await log.tasks([topics[2].name], "w", instance=None)
        await log.publish([numbered(topics[0], 1), numbered(topics[2], 2), numbered(topics[0], 3)])
        (first, _) = await take(member, 2)
        (task,) = await take(worker, 1)
        await member.acknowledge({(first.topic, first.partition): first.offset + 1})
        await worker.done(task)
        await log.close()
        left = await store.file.ask(lambda c: c.execute("SELECT value FROM log_records").fetchall())
        assert left == [(b"3",)]

    async def test_a_record_of_another_process_wakes_the_engine_within_50_ms(
        self, log: EmbeddedLog, another_log: EmbeddedLog, topics: list[Topic]
    ) -> None:
        member = await Group().join(log, topics)
        await another_log.publish([numbered(topics[0], 0)])
        await take(member, 1)
        delays = []
        for n in range(7):
            await another_log.publish([numbered(topics[0], n)])
            published = time.monotonic()
            await take(member, 1)
            delays.append(time.monotonic() - published)
        assert sorted(delays)[len(delays) // 2] < 0.05
        await member.close()
