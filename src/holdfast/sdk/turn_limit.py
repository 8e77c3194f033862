"""How long a turn of workflow code may last, and what happens to one that lasts longer.

Laws of this file:
- A turn has a limit of time and a limit of loop steps. What exceeds one is that run's fault alone: the turn is ended,
  its run is parked, and everything else goes on.
- Entering and leaving a turn are assignments. A watchdog thread measures; a turn pays nothing for a clock.
- The signal raises only where code that is not the engine's is being executed; in the engine's own frames it is noted,
  and acts at the next step of the loop.
- What cannot be interrupted is named, and ends the process: others take over, and a run in whose turn processes die is
  parked by whoever runs it next.

The time is that of the clock on the wall while the turn also computes: a turn that others keep from the processor is
not at fault. One that only blocks, or cannot get the processor at all, has three times as long.
"""

import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, Protocol

from holdfast.sdk.cpu_timer import ThreadTimer
from holdfast.sdk.frames import Place, blamed, is_engine, module_of, turn

log = logging.getLogger(__name__)

TURN_LIMIT = 2.0
TURN_STEPS = 1_000_000
"""Callbacks of the loop in one turn: what awaits without ever waiting comes to this many within some seconds."""
BLOCKED = 3
"""How many times the limit a turn may last that does not compute."""
HOPELESS = 30.0
"""Seconds after which a turn that does not end, however often it is interrupted, ends its process."""
AGAIN = 0.05
EXIT_CODE = 70
SIGNAL: Final = signal.SIGURG  # ignored by default, and nobody's: so a signal that comes too late does nothing
LAST_SIGNAL: Final = signal.SIGVTALRM

ADVICE: Final = "Move long computing into a step, and wait by awaiting what is waited for, not in a loop."


class TurnTooLong(BaseException):  # not an Exception: no `except Exception` of an author may catch it
    """A turn exceeded a limit: says which, and where."""

    def __init__(self, what: str, place: Place | None) -> None:
        self.place = place
        where = "" if place is None else f"\n  {place}"
        super().__init__(f"a turn of this workflow {what}{where}\n  {ADVICE}")


class Turn(Protocol):
    """Whose turn it is: a loop of workflow code. `overdue` asks it to end; `interrupted` says where it was ended.

    `entries` counts its turns, so that the watchdog tells them apart.
    """

    entries: int
    overdue: bool
    interrupted: TurnTooLong | None


turns: Final[dict[int, Turn]] = {}
"""Whose turn it is, by the thread that is in it."""
this_thread: Final = threading.get_ident


class _Pulse:
    """Counts how often a watchdog of this process has looked: a coarse clock that costs nobody a call."""

    __slots__ = ("beats",)

    def __init__(self) -> None:
        self.beats = 0


PULSE: Final = _Pulse()


def enter(whose: Turn) -> int:
    """Begin a turn on this thread; the answer is for `leave`."""
    thread = this_thread()
    whose.entries += 1
    turns[thread] = whose
    return thread


leave: Final[Callable[[int], object]] = turns.__delitem__
"""End a turn that `enter` has begun."""


@contextmanager
def bounded() -> Iterator[None]:
    """Hold to the limit of a turn what touches an author's objects, wherever it is done; in a turn it is part of that.

    Raises:
        TurnTooLong: it took longer.
    """
    if this_thread() in turns:
        yield
        return
    entered = enter(_Section())
    try:
        yield
    finally:
        leave(entered)


def is_in_turn() -> bool:
    """Tell whether this thread is in a turn, or in a section that is bounded as one."""
    return this_thread() in turns


class _Section:
    """What is bounded as a turn is, and is none."""

    __slots__ = ("entries", "interrupted", "overdue")

    def __init__(self) -> None:
        self.entries = 0
        self.overdue = False
        self.interrupted: TurnTooLong | None = None


def took_longer(limit: float) -> str:
    return f"took longer than {limit:g} s"


class _Seen:
    """A turn that the watchdog has met at least twice."""

    __slots__ = ("cpu", "entry", "since", "whose")

    def __init__(self, whose: Turn, since: float, cpu: float) -> None:
        self.whose = whose
        self.entry = whose.entries
        self.since = since
        self.cpu = cpu


def _end_process(why: str) -> None:
    log.critical("%s", why)
    os._exit(EXIT_CODE)


class Watchdog:
    """Ends turns that last too long. One for a process; from a thread of its own it looks some times within a limit."""

    def __init__(self, limit: float, *, hopeless: float = HOPELESS, end: Callable[[str], None] = _end_process) -> None:
        self.limit = limit
        self._hopeless = hopeless
        self._end = end
        self._seen: dict[int, _Seen] = {}
        self._main = threading.main_thread().ident or 0
        self._stopped = threading.Event()
        self._time = 0.0
        self._watching = threading.Thread(target=self._watch, name="holdfast-watchdog", daemon=True)
        self._before: Any = None
        self._timers: dict[ThreadTimer, float] = {}
        self._wound_up = time.monotonic()
        self._gap = 0.0

    def start(self) -> None:
        """Begin to watch. Turns are interrupted on the main thread only, and only if that is the thread that calls."""
        if threading.get_ident() == self._main:
            self._before = signal.signal(SIGNAL, self._interrupt)
            # Only C code that keeps the interpreter to itself lets these run out: the watchdog winds them up again.
            self._timers = {ThreadTimer(SIGNAL): self.limit, ThreadTimer(LAST_SIGNAL): max(self._hopeless, self.limit)}
            if sys.__stderr__ is not None:
                faulthandler.register(LAST_SIGNAL, file=sys.__stderr__, all_threads=True, chain=True)
        self._wind_up()
        self._watching.start()

    def stop(self) -> None:
        self._stopped.set()
        self._watching.join()
        for timer in self._timers:
            timer.close()
        if self._before is not None:
            faulthandler.unregister(LAST_SIGNAL)
            signal.signal(SIGNAL, self._before)

    def _wind_up(self) -> None:
        now = time.monotonic()
        self._gap, self._wound_up = now - self._wound_up, now
        for timer, seconds in self._timers.items():
            timer.set(seconds)

    def _watch(self) -> None:
        pause = self.limit / 8
        computed = self._computed(self._main)
        while not self._stopped.wait(pause):
            self._wind_up()
            # Time of our own: what passes while the whole process is stopped is not the turn's.
            before, computed = computed, self._computed(self._main)
            self._time += max(pause, computed - before)
            PULSE.beats += 1
            current = dict(turns)
            self._seen = {thread: seen for thread, seen in self._seen.items() if thread in current}
            overdue = [self._look(thread, whose) for thread, whose in current.items()]
            pause = AGAIN if any(overdue) else self.limit / 8

    def _look(self, thread: int, whose: Turn) -> bool:
        seen = self._seen.get(thread)
        if seen is None or seen.whose is not whose or seen.entry != whose.entries:
            self._seen[thread] = _Seen(whose, self._time, self._computed(thread))
            return False
        lasted = self._time - seen.since
        computed = self._computed(thread) - seen.cpu
        if lasted < self.limit or (computed < self.limit / 2 and lasted < self.limit * BLOCKED):
            return False
        whose.overdue = True
        if lasted >= self.limit * BLOCKED + self._hopeless:
            self._give_up(thread, lasted)
        elif self._before is not None and thread == self._main:
            signal.pthread_kill(thread, SIGNAL)
        return True

    def _computed(self, thread: int) -> float:
        """Seconds of processor time. Another thread may be gone, and cannot be asked: it is taken to compute."""
        return time.clock_gettime(time.pthread_getcpuclockid(thread)) if thread == self._main else self._time

    def _interrupt(self, _: int, frame: FrameType | None) -> None:
        """Runs on the main thread, between two steps of whatever it executes."""
        whose = turns.get(self._main)
        if whose is None or frame is None or is_engine(module_of(frame)):
            return
        if max(self._gap, time.monotonic() - self._wound_up) >= self.limit:
            # The timer ran out: C code of this turn has kept the watchdog from looking. Some of it listens to signals.
            whose.overdue = True
        if whose.overdue:
            whose.interrupted = whose.interrupted or TurnTooLong(took_longer(self.limit), place_of(frame))
            raise whose.interrupted

    def _give_up(self, thread: int, lasted: float) -> None:
        place = place_of(sys._current_frames().get(thread))  # noqa: SLF001 - the only way to another thread's frame
        self._end(
            f"a turn of workflow code does not end after {lasted:.0f} s, and cannot be interrupted: {place}. "
            "This process ends; whoever takes its shards over parks the run"
        )


def place_of(frame: FrameType | None) -> Place | None:
    return blamed([one for one, _ in turn(frame)])


@contextmanager
def watching(limit: float = TURN_LIMIT, last_words: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Watch this process's turns meanwhile; for a composition root. `last_words` hears why, if the process must end."""

    def end(why: str) -> None:
        last_words(why)
        _end_process(why)

    watchdog = Watchdog(limit, end=end)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.stop()
