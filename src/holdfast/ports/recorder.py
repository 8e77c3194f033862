"""The flight recorder: what this process is doing right now, where it outlives the process.

Laws of this port:
- What was written outlives whatever ends the process alone: `os._exit`, a signal, a crash in a C library, the OOM
  killer. What ends the machine is nobody's fault: its records are not read.
- A process that stops in good order leaves no record.
- Writing costs well under a microsecond, and raises nothing.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from holdfast.ports.deaths import Death


class FlightRecorder(Protocol):
    """One process's own record."""

    def turn(self, run_id: str, incarnation: int, seq: int) -> None:
        """Note whose turn it is now; `seq` counts the events before it."""

    def landed(self) -> None:
        """Note that it is nobody's turn."""

    def accuse(self, reason: str, detail: str) -> None:
        """Say why this process is about to end itself: its turn cannot be interrupted. From any thread."""

    def begin(self, run_id: str, incarnation: int, step_id: str, attempt: int) -> int:
        """Note an attempt that is executed from now on; gives what `end` wants."""

    def end(self, slot: int) -> None:
        """Note that an attempt is executed no more."""

    def stopping(self) -> None:
        """Note that the process was told to stop: whatever ends it from now on is nobody's fault."""

    def close(self) -> None:
        """Leave no record."""


class Crash(msgspec.Struct, frozen=True):
    """What a process that is gone left behind: its name, and what it had in hand."""

    process: str
    held: tuple[Death, ...]


class FlightRecords(Protocol):
    """The records of the processes of this machine that serve one installation."""

    def record(self, process: str) -> FlightRecorder:
        """Begin the record of this process.

        Raises:
            OSError: there is no room for it, or it may not be written.
        """

    def crashed(self) -> Sequence[Crash]:
        """Find the records of processes that are gone. Each is given to one reader on this machine, until `settle`."""

    def settle(self, crash: Crash) -> None:
        """Remove a record, once what it says is stored."""


class Unrecorded:
    """Fulfils `FlightRecorder` and `FlightRecords` where nothing is recorded."""

    def turn(self, run_id: str, incarnation: int, seq: int) -> None: ...

    def landed(self) -> None: ...

    def accuse(self, reason: str, detail: str) -> None: ...

    def begin(self, run_id: str, incarnation: int, step_id: str, attempt: int) -> int:
        return 0

    def end(self, slot: int) -> None: ...

    def stopping(self) -> None: ...

    def close(self) -> None: ...

    def record(self, process: str) -> FlightRecorder:
        return self

    def crashed(self) -> Sequence[Crash]:
        return ()

    def settle(self, crash: Crash) -> None: ...


UNRECORDED = Unrecorded()
