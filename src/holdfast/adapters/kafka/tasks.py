"""A worker's reading of its queues: see `ports.log.Tasks`.

Laws of this file:
- What is committed of a partition is its `Watermark`; a new owner reads it before it hands out anything.
- A task that this process still works at is not handed out to it again after a rebalance.
- A partition whose metadata is nearly full hands out no more until its slowest tasks are finished.
- An offset below one that was seen before means that the log was made anew: its progress begins anew, too.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from aiokafka.structs import TopicPartition

from holdfast.adapters.kafka.consumer import Consumer
from holdfast.adapters.kafka.group import Group, Partitions
from holdfast.adapters.kafka.watermark import Watermark
from holdfast.ports.log import Record, TopicMissing, Unreachable

PAUSE = 0.2

Committed = Mapping[tuple[str, int], tuple[int, str]]
AskCommitted = Callable[[Mapping[str, list[int]]], Awaitable[Committed]]


class KafkaTasks:
    """A member of the workers' group."""

    def __init__(self, make: Callable[[], Consumer], topics: Sequence[str], committed: AskCommitted) -> None:
        self._ask_committed = committed
        self._marks: dict[TopicPartition, Watermark] = {}
        self._full: set[TopicPartition] = set()
        # By partition and offset, the timestamp: it tells a task from another at the same offset of a log made anew.
        self._running: dict[TopicPartition, dict[int, int]] = {}
        self._early: dict[TopicPartition, dict[int, int]] = {}
        self._going = asyncio.Event()
        self._going.set()
        self._group = Group(
            make,
            topics,
            entered=self._entered,
            left=self._left,
            progress=self._progress,
            forget_progress=self._forget,
        )
        self._group.open()

    async def poll(self, wait: float, limit: int) -> list[Record]:
        if not self._going.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._going.wait()
            return []
        taken = await self._group.poll(wait, limit)
        wanted = [record for record in taken if self._wanted(record)]
        for where in {TopicPartition(record.topic, record.partition) for record in wanted}:
            mark = self._marks[where]
            if mark.full:
                self._full.add(where)
                self._group.seek(where, mark.position)
                self._group.pause(where)
        return wanted

    async def done(self, record: Record) -> None:
        where = TopicPartition(record.topic, record.partition)
        self._running.get(where, {}).pop(record.offset, None)
        mark = self._marks.get(where)
        if mark is None or record.offset >= mark.position:
            # A rebalance came between: it will be read again, and is finished.
            self._early.setdefault(where, {})[record.offset] = record.timestamp
            return
        mark.finish(record.offset)
        if where in self._full and not mark.full:
            self._full.discard(where)
            self._group.resume(where)

    def pause(self) -> None:
        self._going.clear()

    def resume(self) -> None:
        self._going.set()

    async def close(self) -> None:
        await self._group.close()

    def _wanted(self, record: Record) -> bool:
        """Note that a record has come, and tell whether it is to be worked at."""
        where, offset = TopicPartition(record.topic, record.partition), record.offset
        mark = self._marks.get(where)
        if mark is None or offset < mark.position:
            mark = self._marks[where] = Watermark(offset)
        if not mark.take(offset):
            return False
        if self._early.get(where, {}).pop(offset, None) == record.timestamp:
            mark.finish(offset)
            return False
        running = self._running.setdefault(where, {})
        if running.get(offset) == record.timestamp:
            return False
        running[offset] = record.timestamp
        return True

    async def _entered(self, partitions: Partitions) -> None:
        """Read what is finished; no task is handed out before."""
        by_topic: dict[str, list[int]] = {}
        for where in sorted(partitions):
            by_topic.setdefault(where.topic, []).append(where.partition)
        self._early = {where: early for where, early in self._early.items() if where in partitions}
        while by_topic:
            try:
                committed = await self._ask_committed(by_topic)
            except (Unreachable, TopicMissing):
                await asyncio.sleep(PAUSE)
                continue
            for (topic, partition), (offset, metadata) in committed.items():
                self._marks[TopicPartition(topic, partition)] = Watermark(offset, metadata)
            return

    async def _left(self, partitions: Partitions) -> None:
        """Nothing stops: running tasks go on and publish."""

    def _progress(self) -> Mapping[TopicPartition, tuple[int, str]]:
        return {where: (mark.low, mark.metadata()) for where, mark in self._marks.items()}

    def _forget(self) -> None:
        self._marks.clear()
        self._full.clear()
