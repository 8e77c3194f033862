"""The three ways to read the embedded log: as the engine, as a worker, as a client who waits.

Laws of this file:
- The engine of a file is one process, so its member has all shards, and what it acknowledged is deleted.
- A task that is marked as done is deleted; any other comes again to the next worker of the file.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from holdfast.adapters.sqlite.feed import Feed, Wanted
from holdfast.ports.log import OnAssigned, Record

Forget = Callable[[Collection[int]], None]
Leave = Callable[[Feed], None]


class EmbeddedMembership:
    """The only member of the group."""

    def __init__(self, feed: Feed, shards: int, on_assigned: OnAssigned, forget: Forget, leave: Leave) -> None:
        self._feed = feed
        self._shards = frozenset(range(shards))
        self._forget = forget
        self._leave = leave
        self._given: dict[tuple[str, int], deque[int]] = {}
        self._entering: asyncio.Task[None] | None = asyncio.create_task(self._enter(on_assigned))
        self._closed = False

    async def _enter(self, on_assigned: OnAssigned) -> None:
        await on_assigned(self._shards)

    async def poll(self, wait: float, limit: int) -> Sequence[Record]:
        if self._entering is not None:
            await asyncio.shield(self._entering)
            self._entering = None
        if self._closed:
            return []
        records = await self._feed.poll(wait, limit)
        for record in records:
            self._given.setdefault((record.topic, record.partition), deque()).append(record.offset)
        return records

    async def acknowledge(self, positions: Mapping[tuple[str, int], int]) -> None:
        read: list[int] = []
        for where, position in positions.items():
            given = self._given.get(where)
            while given and given[0] < position:
                read.append(given.popleft())
        self._forget(read)

    async def assigned(self) -> frozenset[int]:
        return frozenset() if self._closed else self._shards

    async def rewind(self, shards: Collection[int]) -> None:
        """Read again what was not acknowledged; of all shards, since records may come again at any time."""
        self._given.clear()
        self._feed.rewind()

    async def close(self) -> None:
        self._closed = True
        self._leave(self._feed)
        if self._entering is not None:
            self._entering.cancel()


class EmbeddedTasks:
    """A worker of this file; `held` are the tasks that this process has handed to any of its workers."""

    def __init__(self, feed: Feed, held: set[int], forget: Forget, leave: Leave) -> None:
        self._feed = feed
        self._held = held
        self._mine: set[int] = set()
        self._forget = forget
        self._leave = leave
        self._going = asyncio.Event()
        self._going.set()

    async def poll(self, wait: float, limit: int) -> Sequence[Record]:
        if not self._going.is_set():
            try:
                async with asyncio.timeout(wait):
                    await self._going.wait()
            except TimeoutError:
                return []
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        while True:
            taken = [
                record
                for record in await self._feed.poll(max(0.0, until - loop.time()), limit)
                if record.offset not in self._held
            ]
            if taken or loop.time() >= until:
                self._held.update(record.offset for record in taken)
                self._mine.update(record.offset for record in taken)
                return taken

    async def done(self, record: Record) -> None:
        if record.offset in self._mine:
            self._mine.discard(record.offset)
            self._forget([record.offset])

    def pause(self) -> None:
        self._going.clear()

    def resume(self) -> None:
        self._going.set()

    async def close(self) -> None:
        """Leave; what this worker did not finish is free for the others of its process."""
        self._leave(self._feed)
        self._held -= self._mine
        self._mine.clear()


class EmbeddedTail:
    """A reader of some partitions of one topic; `start` tells where a partition begins that is watched from now on."""

    def __init__(self, make: Callable[[Wanted], Feed], leave: Leave, start: Callable[[], Awaitable[int]]) -> None:
        self._read_up_to: dict[int, int] = {}
        self._feed = make(self._wants)
        self._leave = leave
        self._start = start

    def _wants(self, record: Record) -> bool:
        return record.offset > self._read_up_to.get(record.partition, record.offset)

    async def watch(self, partitions: Collection[int]) -> None:
        new = set(partitions) - self._read_up_to.keys()
        if not new:
            return
        start = await self._start()
        for partition in new:
            self._read_up_to.setdefault(partition, start)
        # What the feed has passed by meanwhile may be wanted now; what was handed out is not.
        self._feed.rewind(min(self._read_up_to.values()))

    async def poll(self, wait: float, limit: int) -> Sequence[Record]:
        records = await self._feed.poll(wait, limit)
        for record in records:
            self._read_up_to[record.partition] = record.offset
        return records

    async def close(self) -> None:
        self._leave(self._feed)
