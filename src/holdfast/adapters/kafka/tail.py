"""Reading without a group: see `ports.log.Tail`.

Laws of this file:
- `watch` returns when the place to read from is known: what is published after that is read.
- Watching one more partition moves none of the others.
- While no broker answers there is nothing to read, and reading goes on where it was when one answers again.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress

from aiokafka.structs import TopicPartition

from holdfast.adapters.kafka.consumer import Consumer
from holdfast.adapters.kafka.errors import TROUBLE
from holdfast.ports.log import Record

PAUSE = 0.2
MARGIN = 0.25

AskOffsets = Callable[[str, Sequence[int]], Awaitable[dict[int, int]]]


class KafkaTail:
    """A reader of some partitions of one topic."""

    def __init__(self, consumer: Consumer, topic: str, start: AskOffsets) -> None:
        self._consumer = consumer
        self._topic = topic
        self._start = start
        self._next: dict[int, int] = {}
        self._watching = asyncio.Event()
        self._buffer: deque[Record] = deque()

    async def watch(self, partitions: Collection[int]) -> None:
        new = sorted(set(partitions) - self._next.keys())
        if not new:
            return
        starts = await self._start(self._topic, new)
        for partition, offset in starts.items():
            self._next.setdefault(partition, offset)
        # No await from here on: a `poll` beside us must not read between the assignment and the seeks.
        watched = [TopicPartition(self._topic, partition) for partition in self._next]
        self._consumer.assign(watched)
        self._consumer.entered(watched)
        for where in watched:
            self._consumer.seek(where, self._next[where.partition])
        self._watching.set()

    async def poll(self, wait: float, limit: int) -> list[Record]:
        if not self._buffer:
            await self._fetch(wait)
        return [self._buffer.popleft() for _ in range(min(limit, len(self._buffer)))]

    async def close(self) -> None:
        with suppress(*TROUBLE):
            await self._consumer.stop()

    async def _fetch(self, wait: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(wait + MARGIN):
                if not self._watching.is_set():
                    await self._watching.wait()
                try:
                    fetched = await self._consumer.take(wait)
                except TROUBLE:
                    await asyncio.sleep(PAUSE)
                    return
                self._next |= {record.partition: record.offset + 1 for record in fetched}
                self._buffer.extend(fetched)
