"""Runs in memory: the fold of their history, their code standing still, and which of them may be forgotten.

Laws of this file:
- A run with uncommitted events is never evicted: the store could not rebuild it.
- Evicting a run has no visible effect; the next message for it rebuilds it from history.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, KeysView
from typing import Protocol

from holdfast.app.records import trace_of
from holdfast.core import events as e
from holdfast.core.behind import Behind
from holdfast.core.replay import Program, ProgramStuck, Rebuilt
from holdfast.core.run import ENDED, Run
from holdfast.ports.codec import Codec
from holdfast.ports.journal import StoredRun
from holdfast.sdk.failures import describe

RUN_BYTES = 9_000
"""What a run in memory costs besides its payloads, measured (docs/performance.md)."""


class EvictableProgram(Program, Protocol):
    """A workflow's code in memory, which can be dropped."""

    def evict(self) -> None:
        """Drop it without visible effect."""

    def take_blobs(self) -> dict[str, bytes]:
        """Give the large payloads that the last turns made, once."""


NewProgram = Callable[[str, int], EvictableProgram]


class LiveRun:
    """One run in memory."""

    __slots__ = (
        "_trace", "behind", "last_at", "program", "run", "shard", "size", "started_at", "uncommitted", "weighed_at",
    )  # fmt: skip

    def __init__(self, run: Run, shard: int) -> None:
        self.run = run
        self.shard = shard
        self.program: EvictableProgram | None = None
        self.behind: Behind | None = None
        self.last_at = 0
        self.started_at = 0
        self.uncommitted = 0
        self.size = RUN_BYTES
        self.weighed_at = 0
        self._trace = ""

    def open_next(self, program: EvictableProgram) -> None:
        """Begin the incarnation after one that was closed."""
        self.run = Run(self.run.run_id, self.run.incarnation + 1)
        self.program = program
        self.behind = None
        self.weighed_at = 0
        self._trace = ""

    @property
    def trace(self) -> str:
        """The name of the run's trace; only what is published needs it."""
        if not self._trace:
            self._trace = trace_of(self.run.run_id, self.run.incarnation)
        return self._trace


class LiveRuns:
    """The runs in memory, least recently used first, within a bound of bytes."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._runs: OrderedDict[str, LiveRun] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[LiveRun]:
        return iter(self._runs.values())

    def get(self, run_id: str) -> LiveRun | None:
        live = self._runs.get(run_id)
        if live is not None:
            self._runs.move_to_end(run_id)
        return live

    @property
    def ids(self) -> KeysView[str]:
        return self._runs.keys()

    def add(self, live: LiveRun) -> None:
        self.drop((live.run.run_id,))
        self._runs[live.run.run_id] = live
        self._bytes += live.size

    def drop(self, run_ids: Iterable[str]) -> None:
        """Forget runs, whatever they were about to do."""
        for run_id in run_ids:
            live = self._runs.pop(run_id, None)
            if live is not None:
                self._bytes -= live.size
                if live.program is not None:
                    live.program.evict()
                    live.program = None

    def drop_shards(self, shards: frozenset[int]) -> None:
        self.drop([run_id for run_id, live in self._runs.items() if live.shard in shards])

    def committed(self, live: LiveRun) -> None:
        """What a draft had of this run is durable: an ended run may go, any other is weighed anew."""
        run = live.run
        live.uncommitted -= 1
        if self._runs.get(run.run_id) is not live:
            return  # forgotten meanwhile, with its shard
        if run.status in ENDED:
            if not live.uncommitted:  # else its end is still on its way, on top of this draft
                self.drop((run.run_id,))
            return
        if run.seq - live.weighed_at < len(run.open_steps) + len(run.children):
            return  # a run of many steps is weighed once in as many events
        live.weighed_at = run.seq
        size = RUN_BYTES + len(run.input.data)
        for step in run.open_steps.values():
            size += len(step.scheduled.input.data)
        for child in run.children.values():
            size += len(child.scheduled.input.data)
        self._bytes += size - live.size
        live.size = size

    def trim(self) -> None:
        """Forget the least recently used runs that are committed whole, until the rest fits."""
        if self._bytes <= self._limit:
            return
        for run_id in list(self._runs):
            if self._bytes <= self._limit:
                return
            if self._runs[run_id].uncommitted == 0:
                self.drop((run_id,))


def recorded(codec: Codec, stored: StoredRun) -> list[e.Recorded]:
    """Decode a history."""
    return [e.Recorded(one.seq, one.at, codec.decode_event(one.type, one.data)) for one in stored.history]


def reprogram(
    run_id: str, incarnation: int, history: list[e.Recorded], new_program: NewProgram
) -> tuple[EvictableProgram, Rebuilt]:
    """Run the code against its whole history."""
    program = new_program(run_id, incarnation)
    rebuilt = Rebuilt(Run(run_id, incarnation))
    try:
        rebuilt.replay(history, program)
    except ProgramStuck:
        program.evict()
        raise
    except Exception as error:
        program.evict()
        raise ProgramStuck("engine_error", f"replay of run {run_id} failed in the engine: {describe(error)}") from error
    if not rebuilt.behind.asked:  # else some of them are not stored yet
        program.take_blobs()
    return program, rebuilt
