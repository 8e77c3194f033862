"""After the commit: say what happened.

Laws of this file:
- Only what is committed is published.
- Per partition, batch n+1 is not sent before n is acknowledged; cursors and offsets move after that.
- Events go along with the tasks and outcomes of the next commit: a request costs a broker more than its records do.
- While the log is away, publishing waits and what is committed waits with it; nothing is dropped.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import msgspec

from holdfast.app.backoff import backoff
from holdfast.app.orchestrator.ownership import Ownership
from holdfast.app.orchestrator.unserved_queues import Unserved
from holdfast.ports.log import Log, Outgoing, TooLarge, TopicMissing, Unreachable

log = logging.getLogger(__name__)

Positions = Mapping[tuple[str, int], int]
AHEAD = 64
LINGER = 0.02
"""Seconds that events may wait for a request to go along with: nobody's step or result waits for them."""


class Published(msgspec.Struct):
    """What one commit has to say, and what may move once it is said.

    `prompt` are tasks, outcomes and dead letters, whom somebody waits for; `events` tell the public history;
    `positions` are those of one `reading` of the log.
    """

    prompt: list[Outgoing]
    events: list[Outgoing]
    numbers: dict[int, tuple[int, int]]
    positions: dict[tuple[str, int], int]
    reading: int


class Publisher:
    """Publishes commits in their order; several waiting ones go out together."""

    def __init__(
        self,
        log_: Log,
        ownership: Ownership,
        acknowledge: Callable[[Positions, int], object],
        too_large: Callable[[Outgoing, str], Awaitable[Outgoing]],
    ) -> None:
        self._log = log_
        self._ownership = ownership
        self._acknowledge = acknowledge
        self._too_large = too_large
        self._unserved = Unserved(log_)
        self._prompt: asyncio.Queue[Published] = asyncio.Queue(AHEAD)
        self._events: asyncio.Queue[Published] = asyncio.Queue(AHEAD)
        self._leaving = asyncio.Event()

    async def put(self, published: Published) -> None:
        await self._prompt.put(published)

    async def drained(self) -> None:
        """Wait until all that was put is acknowledged."""
        await self._prompt.join()
        await self._events.join()

    async def serve(self) -> None:
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._serve_prompt())
            loops.create_task(self._serve_events())
            loops.create_task(self._unserved.serve())

    async def _serve_prompt(self) -> None:
        while True:
            batch = await taken(self._prompt)
            prompt = [record for one in batch for record in one.prompt]
            if prompt:
                self._leaving.set()  # events that wait are published at the next turn of the loop: in the same request
                self._leaving.clear()
                await self.publish(prompt)
            for one in batch:
                await self._events.put(one)
                self._prompt.task_done()

    async def _serve_events(self) -> None:
        """Publish the history; cursors and offsets move after it, when all of a commit is said."""
        while True:
            batch = [await self._events.get()]
            if batch[0].events:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LINGER):
                        await self._leaving.wait()
            while not self._events.empty():
                batch.append(self._events.get_nowait())
            await self.publish([record for one in batch for record in one.events])
            for one in batch:
                self._ownership.published(one.numbers)
                self._events.task_done()
            reading = batch[-1].reading
            said = [one.positions for one in batch if one.reading == reading]
            positions = {place: offset for one in said for place, offset in one.items()}
            if positions:
                self._acknowledge(positions, reading)

    async def publish(self, records: list[Outgoing]) -> None:
        """Publish, however long the log is away."""
        async for number in backoff():
            records = self._unserved.without(records)
            if not records:
                return
            try:
                await self._log.publish(records)
            except (Unreachable, TopicMissing) as away:
                if isinstance(away, TopicMissing):
                    records = self._unserved.without_these(records, away.topics)
                if number in {0, 5} or number % 20 == 0:
                    log.warning("cannot publish: %s; retrying", away)
            except TooLarge as large:
                records = list(records)
                records[large.index] = await self._too_large(records[large.index], str(large))
            else:
                return


async def taken(queue: asyncio.Queue[Published]) -> list[Published]:
    """Take all that waits, at least one."""
    batch = [await queue.get()]
    while not queue.empty():
        batch.append(queue.get_nowait())
    return batch
