"""Waits of a run: what `asyncio.sleep` and its like become.

Law of this file: a wait is over when its owner says so, and never by a clock of the process.
"""

from typing import Final, Protocol

from holdfast.sdk.eviction import Evicted
from holdfast.sdk.handles import Handle

_MICROS: Final = 1_000_000
LATEST: Final = 253_402_300_799.0
"""9999-12-31T23:59:59Z, the last second that can be written: a later wait ends then, and an infinite one never."""


class Owner(Protocol):
    """The loop on which the run waits."""

    evicted: bool
    timers: "Timers"

    def fire(self, timer: "DurableTimer") -> None:
        """The wait is over: the timer's callback is ready."""


class DurableTimer(Handle):
    """A wait of the run. `number` counts the run's timers from 1; `due` is in integer microseconds since the epoch."""

    loop: "Owner"
    number: int
    moment: float
    is_open: bool

    @property
    def due(self) -> int:
        return round(min(self.moment, LATEST) * _MICROS)

    def when(self) -> float:
        return self.moment

    def fire(self) -> None:
        """Called by the loop's owner when TimerFired is applied; the callback runs in the next turn."""
        if self.is_open and self.callback is not None:
            self.is_open = False
            self.loop.fire(self)

    def cancel(self) -> None:
        super().cancel()
        if self.is_open:
            self.is_open = False
            if not self.loop.evicted:
                self.loop.timers.cancel(self)


class Timers(Protocol):
    """Where the owner of a loop keeps the waits of its run."""

    def start(self, timer: DurableTimer) -> None: ...

    def cancel(self, timer: DurableTimer) -> None:
        """Called at most once, and never after `timer` fired."""

    def is_waiting(self) -> bool:
        """Whether anything outside may bring another turn."""


class _NoTimers:
    """Of a dropped run: so that its loop no longer refers to its owner."""

    def start(self, timer: DurableTimer) -> None:
        raise Evicted

    def cancel(self, timer: DurableTimer) -> None:
        """Nothing waits any more."""

    def is_waiting(self) -> bool:
        return False


NO_TIMERS: Final = _NoTimers()
