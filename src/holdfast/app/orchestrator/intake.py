"""What comes in for the runs of this process, from everywhere, in slices.

Laws of this file:
- An input is kept until what follows from it is committed; a failed commit feeds its inputs again, before newer ones.
- How a record becomes an input: record_reader.py.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from holdfast.app.orchestrator.draft import Input
from holdfast.app.orchestrator.record_reader import RecordReader, as_command
from holdfast.core.commands import StepResult
from holdfast.core.identity import shard_of
from holdfast.ports.log import Record

SLICE = 192
BACKLOG = 4_096


class Intake:
    """Inputs in the order in which they are to be handled."""

    def __init__(self, *, reader: RecordReader, shards: int) -> None:
        self._reader = reader
        self._shards = shards
        self._again: deque[list[Input]] = deque()
        self._fresh: deque[Input] = deque()
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        return len(self._fresh) + sum(map(len, self._again))

    def put(self, inputs: Iterable[Input]) -> None:
        self._fresh.extend(inputs)
        if self._fresh:
            self._filled.set()
        if len(self._fresh) >= BACKLOG:
            self._room.clear()

    def put_result(self, result: StepResult) -> None:
        """Take a result that was handed over in memory."""
        shard = shard_of(result.run_id, self._shards)
        self._fresh.append(Input(shard, result.run_id, as_command(result), result.incarnation))
        self._filled.set()

    def put_records(self, records: Iterable[Record], reading: int = 0) -> None:
        """Sort records of the commands and results topics; what is not for us is redirected in its turn."""
        read = self._reader.read
        self.put([read(record, reading) for record in records])

    def again(self, inputs: list[Input]) -> None:
        """Feed inputs of a failed commit again, before everything else, as a slice of their own."""
        if inputs:
            self._again.appendleft(inputs)
            self._filled.set()

    def after_those(self, inputs: list[Input]) -> None:
        """Put back a slice that was not handled: behind what is fed again, before what is fresh."""
        if inputs:
            self._again.append(inputs)
            self._filled.set()

    async def next_slice(self) -> list[Input]:
        """Wait for inputs and take a slice: at most `SLICE`, over all shards of this process."""
        while not self._again and not self._fresh:
            self._filled.clear()
            await self._filled.wait()
        if self._again:
            return self._again.popleft()
        taken = [self._fresh.popleft() for _ in range(min(SLICE, len(self._fresh)))]
        if len(self._fresh) < BACKLOG:
            self._room.set()
        return taken

    async def room(self) -> None:
        """Wait until there is room for more records."""
        await self._room.wait()

    def discard(self, drop: Callable[[Input], bool]) -> list[Input]:
        """Take out what waits and is not for us any more; returns it."""
        dropped = [one for batch in self._again for one in batch if drop(one)]
        dropped += [one for one in self._fresh if drop(one)]
        self._again = deque(kept for batch in self._again if (kept := [one for one in batch if not drop(one)]))
        self._fresh = deque(one for one in self._fresh if not drop(one))
        if len(self._fresh) < BACKLOG:
            self._room.set()
        return dropped

    def wake(self) -> None:
        self._filled.set()
