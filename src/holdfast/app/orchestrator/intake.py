"""What comes in for the runs of this process, from everywhere, in slices.

Laws of this file:
- An input is kept until what follows from it is committed; a failed commit feeds its inputs again, before newer ones.
- What the sweeper finds waits in a lane of its own, with a share of each slice: however much is overdue, it neither
  holds up live work nor waits for it to end.
- What waits is bounded in number and in bytes: who brings more asks for room first. So is a slice.
- Records are handled in the order of the log: an offset says that all before it is done. What comes from within the
  process has no offset, and there runs take turns: the thousand results of one do not stand before the one of another.
- How a record becomes an input: record_reader.py.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from holdfast.app.fair_queue import FairQueue
from holdfast.app.orchestrator.draft import Input
from holdfast.app.orchestrator.record_reader import RecordReader, as_command
from holdfast.core.commands import CompleteStep, HearChild, HearLedger, StartRun, StepResult
from holdfast.core.identity import shard_of
from holdfast.ports.log import Record

SLICE = 192
"""Inputs of a slice; `SLICE_BYTES` bounds their records and results."""
SLICE_BYTES = 8 * 1024 * 1024
BACKLOG = 4_096
RESULTS_BACKLOG = 1_024
"""Inputs from within the process beyond which it executes no further step: some slices, so that none is waited for."""
BACKLOG_BYTES = 64 * 1024 * 1024
SWEPT_SHARE = 24
"""Inputs of a slice that are the sweeper's beside live work. Each brings a run back to memory, which takes long."""
SWEPT_BACKLOG = 128
"""Beyond this the sweeper reads no further page."""


class Intake:
    """Inputs in the order in which they are to be handled."""

    def __init__(self, *, reader: RecordReader, shards: int) -> None:
        self._reader = reader
        self._shards = shards
        self._again: deque[list[Input]] = deque()
        self._records: deque[Input] = deque()
        self._local: FairQueue[Input] = FairQueue()  # results, timers and commands of this process, by their runs
        self._swept: deque[Input] = deque()
        self._bytes = 0  # of records and of what comes from within
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._results_room = asyncio.Event()
        self._results_room.set()

    def __len__(self) -> int:
        return self._fresh + len(self._swept) + sum(map(len, self._again))

    @property
    def _fresh(self) -> int:
        return len(self._records) + len(self._local)

    def put(self, inputs: Iterable[Input]) -> None:
        """Take what comes from within the process."""
        for one in inputs:
            self._bytes += weight(one)
            self._local.put(one.run_id, one)
        self._note_filled()

    def _note_filled(self) -> None:
        if self._fresh:
            self._filled.set()
        if self._fresh >= BACKLOG or self._bytes >= BACKLOG_BYTES:
            self._room.clear()

    def put_swept(self, inputs: Iterable[Input]) -> None:
        """Take what the sweeper found; it asks for room before."""
        self._swept.extend(inputs)
        if self._swept:
            self._filled.set()

    @property
    def has_swept_room(self) -> bool:
        return len(self._swept) < SWEPT_BACKLOG

    def put_result(self, result: StepResult) -> None:
        """Take a result that was handed over in memory."""
        run_id = result.run_id
        one = Input(shard_of(run_id, self._shards), run_id, as_command(result), result.incarnation)
        self._bytes += weight(one)
        self._local.put(run_id, one)
        self._filled.set()
        if len(self._local) >= RESULTS_BACKLOG or self._bytes >= BACKLOG_BYTES:
            self._results_room.clear()

    def put_records(self, records: Iterable[Record], reading: int = 0) -> None:
        """Sort records of the commands and results topics; what is not for us is redirected in its turn."""
        read = self._reader.read
        found = [read(record, reading) for record in records]
        self._bytes += sum(map(weight, found))
        self._records.extend(found)
        self._note_filled()

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
        while not self._again and not self._fresh and not self._swept:
            self._filled.clear()
            await self._filled.wait()
        if self._again:
            return self._again.popleft()
        swept = min(len(self._swept), SWEPT_SHARE if self._fresh else SLICE)
        taken = self._take_fresh(SLICE - swept)
        taken += [self._swept.popleft() for _ in range(swept)]
        return taken

    def _take_fresh(self, most: int) -> list[Input]:
        """Take records and what comes from within, half and half where both wait."""
        records, local = self._records, self._local
        from_log = min(len(records), max(most // 2, most - len(local)))
        taken: list[Input] = []
        size = 0
        while from_log and size < SLICE_BYTES:
            one = records.popleft()
            size += weight(one)
            taken.append(one)
            from_log -= 1
        from_local = min(len(local), most - len(taken))
        while from_local and size < SLICE_BYTES:
            one = local.take()
            size += weight(one)
            taken.append(one)
            from_local -= 1
        self._bytes -= size
        self._make_room()
        return taken

    def _make_room(self) -> None:
        if self._bytes >= BACKLOG_BYTES:
            return
        if self._fresh < BACKLOG:
            self._room.set()
        if len(self._local) < RESULTS_BACKLOG:
            self._results_room.set()

    async def room(self) -> None:
        """Wait until there is room for more records."""
        await self._room.wait()

    async def room_for_results(self) -> None:
        """Wait until there is room for more results of steps that this process executes."""
        await self._results_room.wait()

    def discard(self, drop: Callable[[Input], bool]) -> list[Input]:
        """Take out what waits and is not for us any more; returns it."""
        dropped = [one for batch in self._again for one in batch if drop(one)]
        dropped += [one for one in self._records if drop(one)]
        dropped += self._local.discard(drop)
        dropped += [one for one in self._swept if drop(one)]
        self._again = deque(kept for batch in self._again if (kept := [one for one in batch if not drop(one)]))
        self._records = deque(one for one in self._records if not drop(one))
        self._swept = deque(one for one in self._swept if not drop(one))
        self._bytes = sum(map(weight, self._records)) + sum(map(weight, self._local))
        self._make_room()
        return dropped

    def wake(self) -> None:
        self._filled.set()


def weight(one: Input) -> int:
    """Give the bytes that an input holds: of the record that it came as, or of the result that was handed over."""
    if one.origin is not None:
        return len(one.origin.value)
    command = one.command
    if type(command) is CompleteStep:  # `type() is` where every run comes by: as in core/run.py
        return len(command.result.data)
    if type(command) is StartRun:
        return 0
    if isinstance(command, (HearLedger, HearChild)) and command.result is not None:
        return len(command.result.data)
    return 0
