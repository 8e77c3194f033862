"""The flight recorders of a simulated world, by machine, and the child processes of a worker.

Laws of this file:
- A record outlives its process's death; a process that was told to stop leaves none.
- A child is executed within its parent, and dies with it. No child dies alone: nothing in this world is guilty.
"""

from collections.abc import Mapping, Sequence

from holdfast.app.executor.child_process import execute
from holdfast.ports.deaths import Death
from holdfast.ports.recorder import Crash, FlightRecorder
from tests.simulation.loop import Life

Folder = dict[str, "Record"]


class Record:
    """Fulfils `ports.recorder.FlightRecorder`: what one process has in hand."""

    def __init__(self, process: str, life: Life, folder: Folder) -> None:
        self._process = process
        self._life = life
        self._folder = folder
        self._turn: Death | None = None
        self._attempts: dict[int, Death] = {}
        self._slots = 0
        self._stopping = False

    def turn(self, run_id: str, incarnation: int, seq: int) -> None:
        self._turn = Death(run_id=run_id, incarnation=incarnation, step_id="", process=self._process, seq=seq)

    def landed(self) -> None:
        self._turn = None

    def accuse(self, reason: str, detail: str) -> None:
        """No process of this world ends itself."""

    def begin(self, run_id: str, incarnation: int, step_id: str, attempt: int) -> int:
        self._slots += 1
        self._attempts[self._slots] = Death(
            run_id=run_id, incarnation=incarnation, step_id=step_id, process=self._process, attempt=attempt
        )
        return self._slots

    def end(self, slot: int) -> None:
        if self._life.alive:
            self._attempts.pop(slot, None)

    def stopping(self) -> None:
        self._stopping = True

    def close(self) -> None:
        if self._life.alive:
            self._folder.pop(self._process, None)

    @property
    def crash(self) -> Crash | None:
        if self._life.alive or self._stopping:
            return None
        held = {death.place: death for death in self._attempts.values()}
        return Crash(self._process, (*([self._turn] if self._turn else []), *held.values()))


class SimulatedRecords:
    """Fulfils `ports.recorder.FlightRecords`: the folder of one machine."""

    def __init__(self, folder: Folder, lives: Mapping[str, Life]) -> None:
        self._folder = folder
        self._lives = lives

    def record(self, process: str) -> FlightRecorder:
        record = self._folder[process] = Record(process, self._lives[process], self._folder)
        return record

    def crashed(self) -> Sequence[Crash]:
        found = [record.crash for record in self._folder.values()]
        return [crash for crash in found if crash is not None and crash.held]

    def settle(self, crash: Crash) -> None:
        self._folder.pop(crash.process, None)


class SimulatedChildren:
    """Fulfils `ports.isolation.Isolation`."""

    async def run(self, request: bytes, seconds: float) -> bytes:
        return await execute(request)
