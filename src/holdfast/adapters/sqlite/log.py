"""The log of the embedded profile, in the store's own file.

Laws of this file:
- A record marked as `stored` is in the history of this very file and is not written a second time; so the topics of
  events and outcomes hold nothing here, and clients read the store.
- What the engine acknowledged and what workers finished is deleted, a moment later and many at once: it is a hint.
"""

import asyncio
import secrets
import sqlite3
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from holdfast.adapters.sqlite.feed import Feed, Wanted, end_of_records
from holdfast.adapters.sqlite.lane import Work
from holdfast.adapters.sqlite.readers import EmbeddedMembership, EmbeddedTail, EmbeddedTasks
from holdfast.adapters.sqlite.statements import statement
from holdfast.adapters.sqlite.store import SqliteStore
from holdfast.core.identity import murmur2
from holdfast.ports.log import OnAssigned, OnRevoked, Outgoing, Record, TooLarge, Topic, TopicMissing, Unreachable
from holdfast.ports.unavailable import Unavailable

RECORD_LIMIT = 1024 * 1024  # what Kafka's brokers take unless told otherwise: what works here works there
FORGET_AFTER = 0.02

Value = TypeVar("Value")

_pack = msgspec.msgpack.Encoder().encode


class EmbeddedLog:
    """Records on topics, in the file of `store`, which is opened before and closed after it."""

    def __init__(self, store: SqliteStore, *, record_limit: int = RECORD_LIMIT) -> None:
        self._file = store.file
        self._record_limit = record_limit
        self._topics: dict[str, tuple[str, int]] = {}
        self._feeds: set[Feed] = set()
        self._task_feeds: set[Feed] = set()
        self._held: set[int] = set()
        self._read: list[int] = []
        self._forgetting: asyncio.Task[None] | None = None
        self._next_forgetting: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        self._topics = await self._read_topics()

    async def close(self) -> None:
        for feed in list(self._feeds):
            self._leave(feed)
        if self._next_forgetting is not None:
            self._next_forgetting.cancel()
            self._next_forgetting = None
        if self._forgetting is not None:
            await self._forgetting
        await self._forget_read()

    async def install(self, topics: Sequence[Topic]) -> list[str]:
        self._topics = await self._read_topics()
        for topic in topics:
            _, partitions = self._topics.get(topic.name, ("", topic.partitions))
            if partitions != topic.partitions:
                raise ValueError(
                    f"topic {topic.name} has {partitions} partitions and cannot change to {topic.partitions}"
                )
        new = [topic for topic in topics if topic.name not in self._topics]
        if not new:
            return []

        def work(connection: sqlite3.Connection) -> list[str]:
            if not statement("cluster_id").all(connection):
                statement("set_meta").write(connection, ("log", secrets.token_hex(8)))
            return [
                topic.name
                for topic in new
                if statement("make_topic").write(connection, (topic.name, secrets.token_hex(8), topic.partitions))
            ]

        made = await self._at_the_edge(self._file.write(work))
        self._topics = await self._read_topics()
        return made

    async def missing(self, topics: Sequence[Topic]) -> list[str]:
        self._topics = await self._read_topics()
        return [topic.name for topic in topics if topic.name not in self._topics]

    async def identity(self, topics: Sequence[str]) -> Mapping[str, str]:
        self._topics = await self._read_topics()
        rows = await self._ask(statement("cluster_id").all)
        ids = {topic: self._topics[topic][0] for topic in topics if topic in self._topics}
        return {"cluster": rows[0][0] if rows else ""} | ids

    async def publish(self, records: Sequence[Outgoing]) -> None:
        if not (written := [record for record in records if not record.stored]):
            return
        await self._know({record.topic for record in written})
        at = time.time_ns() // 1_000_000
        values: list[Any] = []
        for index, record in enumerate(records):
            if record.stored:
                continue
            if len(record.value) + len(record.key) > self._record_limit:
                raise TooLarge(index, f"a record of {len(record.value)} bytes is over {self._record_limit}")
            values += (record.topic, self._partition(record), record.key, record.value, _pack(record.headers), at)

        def work(connection: sqlite3.Connection) -> int:
            statement("append_records").write(connection, values)
            return end_of_records(connection)

        last = await self._at_the_edge(self._file.write(work))
        first = last - len(written) + 1
        published = [
            Record(one.topic, values[6 * n + 1], first + n, one.key, one.value, one.headers, at)
            for n, one in enumerate(written)
        ]
        for feed in self._feeds:
            feed.offer(first, published)

    async def join(
        self, topics: Sequence[str], group: str, *, on_assigned: OnAssigned, on_revoked: OnRevoked, instance: str | None
    ) -> EmbeddedMembership:
        await self._know(topics)
        (shards,) = {self._topics[topic][1] for topic in topics}
        return EmbeddedMembership(self._feed(topics), shards, on_assigned, self._forget, self._leave)

    async def tasks(self, topics: Sequence[str], group: str, *, instance: str | None) -> EmbeddedTasks:
        await self._know(topics)
        feed = self._feed(topics)
        self._task_feeds.add(feed)
        return EmbeddedTasks(feed, self._held, self._forget, self._leave_tasks)

    async def tail(self, topic: str, *, earliest: bool = False) -> EmbeddedTail:
        await self._know([topic])

        async def start() -> int:
            return 0 if earliest else await self._ask(end_of_records)

        return EmbeddedTail(lambda wanted: self._feed([topic], wanted), self._leave, start)

    def _feed(self, topics: Collection[str], wanted: Wanted = lambda _: True) -> Feed:
        feed = Feed(self._file, topics, wanted=wanted)
        self._feeds.add(feed)
        self._file.listeners.add(feed.noticed)
        return feed

    def _leave(self, feed: Feed) -> None:
        self._feeds.discard(feed)
        self._task_feeds.discard(feed)
        self._file.listeners.discard(feed.noticed)
        feed.wake()

    def _leave_tasks(self, feed: Feed) -> None:
        """Let the other workers of this process look at what this one leaves."""
        self._leave(feed)
        for other in self._task_feeds:
            other.rewind()

    def _forget(self, places: Collection[int]) -> None:
        """Delete records soon."""
        self._read += places
        if self._read and self._next_forgetting is None:
            self._next_forgetting = asyncio.get_running_loop().call_later(FORGET_AFTER, self._begin_forgetting)

    def _begin_forgetting(self) -> None:
        self._next_forgetting = None
        if self._forgetting is None or self._forgetting.done():
            self._forgetting = asyncio.create_task(self._forget_read())
        else:
            self._forget(())

    async def _forget_read(self) -> None:
        if not self._read:
            return
        read, self._read = self._read, []
        try:
            await self._file.write(lambda connection: statement("forget_records").write(connection, read))
        except Unavailable:
            self._read += read  # they may come again, and are deleted with the next ones
        else:
            self._held.difference_update(read)

    async def _know(self, topics: Collection[str]) -> None:
        if any(topic not in self._topics for topic in topics):
            self._topics = await self._read_topics()
        if unknown := sorted(set(topics) - self._topics.keys()):
            raise TopicMissing(f"{self._file.path} has no topic {', '.join(unknown)}: run holdfast install")

    def _partition(self, record: Outgoing) -> int:
        if record.partition is not None:
            return record.partition
        return _hash(record.key) % self._topics[record.topic][1]

    async def _read_topics(self) -> dict[str, tuple[str, int]]:
        rows = await self._ask(statement("read_topics").all)
        return {name: (id_, partitions) for name, id_, partitions in rows}

    async def _ask(self, work: Work[Value]) -> Value:
        return await self._at_the_edge(self._file.ask(work))

    async def _at_the_edge(self, asked: Awaitable[Value]) -> Value:
        try:
            return await asked
        except Unavailable as away:
            raise Unreachable(str(away)) from away


_hash: Callable[[bytes], int] = lru_cache(maxsize=65_536)(murmur2)
