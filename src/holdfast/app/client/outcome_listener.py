"""Hearing outcomes as they come by on their topic, for whoever waits for a run."""

import asyncio
from contextlib import suppress
from functools import partial

from holdfast.app.schemas import SchemaCache
from holdfast.core.commands import RunOutcome
from holdfast.core.identity import shard_of
from holdfast.ports.codec import Codec, Unreadable
from holdfast.ports.log import Log, Tail, TopicMissing, Unreachable
from holdfast.ports.topics import Topics
from holdfast.ports.unavailable import Unavailable

FALLBACK = 2.0
FEW = 3


class OutcomeListener:
    """Listens to the topic of outcomes; reads only the partitions of runs that are waited for."""

    def __init__(self, log_: Log, codec: Codec, topics: Topics, shards: int, schemas: SchemaCache) -> None:
        self._log = log_
        self._codec = codec
        self._schemas = schemas
        self._topics = topics
        self._shards = shards
        self._tail: Tail | None = None
        self._watched: set[int] = set()
        self._waiting: dict[str, asyncio.Future[RunOutcome]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    async def expect(self, run: str) -> asyncio.Future[RunOutcome]:
        """Give a future that is done when the outcome of `run` comes by, from now on."""
        told = self._waiting.get(run)
        if told is None:
            told = self._waiting[run] = asyncio.get_running_loop().create_future()
        shard = shard_of(run, self._shards)
        if shard not in self._watched:
            async with self._lock:
                await self._watch(shard)
        return told

    async def _watch(self, shard: int) -> None:
        if shard in self._watched:
            return
        try:
            if self._tail is None:
                self._tail = await self._log.tail(self._topics.outcomes)
            # A client that waits for many runs waits on most partitions soon: one assignment instead of many.
            wanted = [shard] if len(self._watched) < FEW else range(self._shards)
            await self._tail.watch(wanted)
            self._watched.update(wanted)
        except (Unreachable, TopicMissing):
            return  # the store is asked from time to time all the same
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read(self._tail))

    async def _read(self, tail: Tail) -> None:
        while True:
            try:
                records = await tail.poll(FALLBACK, 1_000)
            except (Unreachable, TopicMissing):
                await asyncio.sleep(FALLBACK)
                continue
            for record in records:
                told = self._waiting.pop((record.key or b"").decode(errors="replace"), None)
                if told is None or told.done():
                    continue
                # What cannot be read here is read from the store by whoever waits, after a while.
                with suppress(Unreadable, Unavailable):
                    outcome = await self._schemas.read(partial(self._codec.decode_outcome, record.value))
                    told.set_result(outcome)

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._tail is not None:
            await self._tail.close()
