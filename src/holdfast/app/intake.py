"""What comes in for the runs of this process, from everywhere, in slices.

Laws of this file:
- An input is kept until what follows from it is committed; a failed commit feeds its inputs again, before newer ones.
- What cannot be read becomes a dead letter, what came to a foreign partition is forwarded; acknowledged after that.
- The shard of an input is computed from its run id.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from holdfast.app.drafts import Input, Redirect
from holdfast.app.records import Wire
from holdfast.core import effects as ledger
from holdfast.core.commands import Addressed, Command, CompleteStep, FailStep, HearLedger, StepResult
from holdfast.core.identity import shard_of
from holdfast.core.payload import NOTHING
from holdfast.ports.codec import Codec, Unreadable
from holdfast.ports.log import Outgoing, Record

SLICE = 192
BACKLOG = 4_096


class Intake:
    """Inputs in the order in which they are to be handled."""

    def __init__(self, *, codec: Codec, wire: Wire, shards: int) -> None:
        self._codec = codec
        self._wire = wire
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
        fresh: list[Input] = []
        for record in records:
            try:
                addressed = self._read(record)
            except Unreadable as error:
                fresh.append(redirect(record, self._wire.dead(record, error.reason, str(error)), reading))
                continue
            shard = shard_of(addressed.run_id, self._shards)
            if shard != record.partition:
                fresh.append(redirect(record, self._wire.forwarded(record, addressed.run_id), reading))
                continue
            command = addressed.command
            fresh.append(Input(shard, addressed.run_id, command, addressed.incarnation, record, reading=reading))
        self.put(fresh)

    def _read(self, record: Record) -> Addressed:
        if record.topic == self._wire.topics.results:
            result = self._codec.decode_result(record.value)
            return Addressed(result.run_id, as_command(result), result.incarnation)
        return self._codec.decode_command(record.headers, record.value)

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


def redirect(record: Record, outgoing: Outgoing, reading: int) -> Input:
    """Keep a redirected record in line, so that its offset moves only after those before it."""
    return Input(record.partition, "", Redirect(outgoing), origin=record, reading=reading)


def as_command(result: StepResult) -> Command:
    """Read a worker's word as a command to the run. Of an effect without an error only SUCCEEDED is a success."""
    unsettled = result.error is None and result.ledger not in {"", ledger.SUCCEEDED}
    if unsettled or result.ledger in {ledger.PARKED, ledger.CANCELLED}:
        return HearLedger(
            step_id=result.step_id,
            state=result.ledger,
            attempt=result.attempt,
            reason=result.reason,
            error=result.error,
        )
    if result.error is not None:
        return FailStep(
            step_id=result.step_id,
            attempt=result.attempt,
            error=result.error,
            ledger=result.ledger,
            not_before=result.not_before,
        )
    return CompleteStep(step_id=result.step_id, attempt=result.attempt, result=result.result or NOTHING)
