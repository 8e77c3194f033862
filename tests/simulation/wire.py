"""The way from one process to a service and back. Here calls are slow, answers get lost, and processes die.

Laws of this file:
- Every call of a port has two points: on the way there, and on the way back. At each the process may be killed or stand
  still, the call may be refused, be lost after it was done, or be done after it was given up.
- The call of a process that died never returns.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from typing import ParamSpec, Protocol, TypeVar

from tests.simulation.faults import KILL, LATE, LOST, ORPHAN, PAUSE, REFUSED, SLOW, Fault, Faults
from tests.simulation.loop import RUNNING, Life

P = ParamSpec("P")
R = TypeVar("R")

THERE = (KILL, PAUSE, REFUSED, LATE, ORPHAN, SLOW)
BACK = (KILL, PAUSE, LOST, SLOW)
PATIENT_THERE = (KILL, PAUSE, SLOW)
PATIENT_BACK = (KILL, PAUSE)
THERE_AND_BACK = 0.65
NEAR = 0.002
"""Seconds that a call usually takes at most, one way."""
SHORTEST_PAUSE, USUAL_PAUSE, LONGEST_PAUSE = 0.2, 13.0, 16.0
LONG_PAUSES = 0.12
SLOWEST = 4.0
LATEST = 8.0
LONGEST_TOLD = 300
UNTOLD = frozenset({"open_attempts", "_nothing", "due_timers", "existing", "history", "identity", "meta"})


class Service(Protocol):
    """What is at the other end: whether it is away, and since when (to lose the answers under way)."""

    away: bool
    failovers: int


class Always:
    """A service that is never away."""

    away = False
    failovers = 0


class Wire:
    """The ways of one process. `wake` lets a paused process go on; `outside` is nobody's context.

    The points of its calls are those of `channel`, where faults come at `rate`; if nothing is said, as everywhere.
    """

    def __init__(
        self,
        life: Life,
        faults: Faults,
        chance: random.Random,
        *,
        outside: Context,
        wake: Callable[[Life], None],
        channel: str = "",
        rate: float | None = None,
        note: Callable[..., None] = lambda *_: None,
        traced: bool = False,
    ) -> None:
        self.life = life
        self.faults = faults
        self.chance = chance
        self.outside = outside
        self.note = note
        self._channel = channel or life.name
        self._rate = rate
        self.traced = traced
        self._wake = wake
        self._loop = asyncio.get_running_loop()

    async def ask(
        self,
        service: Service,
        error: Callable[[str], Exception] | None,
        work: Callable[P, R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Let a service do `work`; `error` is what its port raises while it is away, None if it never does."""
        draw = self.chance.random()
        if draw < THERE_AND_BACK:
            await self.pass_time(draw * NEAR)
        failovers = service.failovers
        fault = self.faults.at(self._channel, PATIENT_THERE if error is None else THERE, self._rate)
        if fault is not None:
            self.note(self.life.name, fault.kind, "on the way to", work.__name__)
            if fault.kind in {LATE, ORPHAN}:
                # No process's doing any more: it happens even if its sender is dead by then.
                delay = fault.how if fault.kind == ORPHAN else fault.how**2  # an heir takes seconds to come
                self.later(delay * LATEST, _late, work, args, kwargs)
            await self.suffer(fault)
            if error is not None and fault.kind in {REFUSED, LATE}:
                await self.pass_time(fault.how * 0.5)
                raise error(f"{fault.kind}: no answer")
        if service.away and error is not None:
            await self.pass_time(0.01 + draw * 0.2)
            raise error("away")
        answer = work(*args, **kwargs)
        if self.traced and work.__name__ not in UNTOLD:
            self.note(self.life.name, work.__name__, *map(brief, args), "->", brief(answer))
        if draw > 1 - THERE_AND_BACK:
            await self.pass_time((1 - draw) * NEAR)
        fault = self.faults.at(self._channel, PATIENT_BACK if error is None else BACK, self._rate)
        if fault is not None:
            self.note(self.life.name, fault.kind, "on the way back from", work.__name__)
            await self.suffer(fault)
        if error is not None and (failovers != service.failovers or (fault is not None and fault.kind == LOST)):
            raise error("lost: the connection broke before the answer came")
        return answer

    async def suffer(self, fault: Fault) -> None:
        """Die, stand still or be slow, if that is the fault."""
        if fault.kind in {KILL, ORPHAN}:
            self.life.die()
            await self._loop.create_future()
        elif fault.kind == PAUSE:
            self.pause(fault.how)
            await asyncio.sleep(0)
        elif fault.kind == SLOW:
            await self.pass_time(fault.how**2 * SLOWEST)

    def pause(self, how: float) -> None:
        """Stand still: half of the pauses are longer than a session, and one of eight than a lease."""
        life = self.life
        if life.state == RUNNING:
            life.pause()
            long = how > 1 - LONG_PAUSES
            self.later(LONGEST_PAUSE + (1 - how) * 50 if long else SHORTEST_PAUSE + how * USUAL_PAUSE, self._wake, life)

    def later(self, seconds: float, what: Callable[..., object], *args: object) -> None:
        """Let something happen outside of all processes."""
        self._loop.call_later(seconds, what, *args, context=self.outside)

    async def pass_time(self, seconds: float) -> None:
        """Wait for what happens elsewhere."""
        passed = self._loop.create_future()
        self._loop.call_later(seconds, _pass, passed)
        await passed


def brief(value: object) -> str:
    """Cut what a trace says of a value."""
    text = repr(sorted(value)) if isinstance(value, (set, frozenset)) else repr(value)
    return text if len(text) <= LONGEST_TOLD else f"{text[:LONGEST_TOLD]}…"


def _late(work: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]) -> None:
    with suppress(Exception):
        work(*args, **kwargs)


def _pass(passed: "asyncio.Future[None]") -> None:
    if not passed.done():
        passed.set_result(None)
