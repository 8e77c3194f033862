"""A worker's reading of its queues: see `ports.log.Tasks`.

Laws of this file:
- What is committed of a partition is its `Watermark`; a new owner reads it before it hands out anything.
- A task that this process still works at is not handed out to it again after a rebalance.
- A partition whose metadata is nearly full hands out no more until its slowest tasks are finished.
- A log that was made anew begins anew, and so does its progress: whoever comes after sees it by its name (`group.py`),
  who reads on asks for it every `LOOK_EVERY` seconds, or sees an offset below one that he saw before.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from aiokafka.structs import TopicPartition

from holdfast.adapters.kafka.consumer import Consumer
from holdfast.adapters.kafka.group import Done, Group, Partitions
from holdfast.adapters.kafka.progress import Group as Known
from holdfast.adapters.kafka.progress import Progress
from holdfast.adapters.kafka.watermark import Watermark
from holdfast.ports.log import Record, TopicMissing, Unreachable

LOOK_EVERY = 10.0

_log = logging.getLogger(__name__)


class KafkaTasks:
    """A member of the workers' group."""

    def __init__(self, make: Callable[[], Consumer], topics: Sequence[str], known: Known) -> None:
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
            known,
            entered=self._entered,
            left=self._left,
            progress=self._progress,
            forget_progress=self._forget,
        )
        self._group.open()
        self._looking = asyncio.get_running_loop().create_task(self._look_regularly())

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
        self._looking.cancel()
        await asyncio.wait([self._looking])
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

    async def _entered(self, partitions: Partitions, done: Done) -> None:
        """Take up what is finished; no task is handed out before."""
        self._early = {where: early for where, early in self._early.items() if where in partitions}
        for where, progress in done.items():
            self._marks[where] = Watermark(progress.offset, progress.finished)

    async def _look_regularly(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            with suppress(Unreachable, TopicMissing):  # it is looked again
                await self._begin_anew(await self._group.replaced())

    async def _begin_anew(self, replaced: Partitions) -> None:
        """Read the new log of these partitions from its beginning."""
        if not replaced:
            return
        _log.warning("Kafka: task topics were made anew: reading them from the beginning")
        for where in replaced:
            self._marks.pop(where, None)
            if where in self._full:
                self._full.discard(where)
                self._group.resume(where)
        await self._group.rewind(replaced)

    async def _left(self, partitions: Partitions) -> None:
        """Nothing stops: running tasks go on and publish."""

    def _progress(self) -> Done:
        return {where: Progress(mark.low, mark.finished()) for where, mark in self._marks.items()}

    def _forget(self) -> None:
        self._marks.clear()
        self._full.clear()
