"""One event loop for a whole simulated world: virtual time, and processes that can be stopped and killed.

Laws of this file:
- Time stands still while anything is ready to run, and jumps to the next timer when nothing is.
- What runs belongs to the process whose context it was created in (`LIFE`), or to the world itself.
- Nothing of a dead process ever runs again. What a paused process would run waits in its order until it goes on.
- Tasks and futures hash by their number: no order depends on an address or on the hash seed.
"""

import asyncio
import heapq
import random
from asyncio import _set_running_loop
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from typing import Any

from holdfast.sdk.loop import Future
from holdfast.sdk.loop import Task as WorkflowTask

RUNNING, PAUSED, DEAD = 0, 1, 2


class Task(WorkflowTask):
    """Of a process, whose cancellations are its own."""

    __slots__ = ()
    cancel = asyncio.Task.cancel


class Life:
    """One process, as the loop sees it. `fuse`: how many callbacks it may still run until it dies; 0 for no limit."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = RUNNING
        self.fuse = 0
        self.held: list[Handle] = []
        self.tasks: list[Task] = []
        self.context = copy_context()
        self.context.run(LIFE.set, self)
        self.on_death: list[Callable[[], None]] = []
        self.on_pause: list[Callable[[], None]] = []
        self.pauses = 0

    @property
    def alive(self) -> bool:
        return self.state != DEAD

    def die(self) -> None:
        """End here: whatever runs of this process after its present callback is dropped."""
        if self.state != DEAD:
            self.state = DEAD
            self.fuse = 0
            self.held.clear()
            for told in self.on_death:
                told()

    def pause(self) -> None:
        """Stand still until the loop lets it go on."""
        if self.state == RUNNING:
            self.state = PAUSED
            self.pauses += 1
            for told in self.on_pause:
                told()


LIFE: ContextVar[Life | None] = ContextVar("life", default=None)


class Handle:
    """A callback that waits for its turn."""

    __slots__ = ("_when", "args", "callback", "context")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context, when: float) -> None:
        self.callback: Callable[..., object] | None = callback
        self.args = args
        self.context = context
        self._when = when

    def cancel(self) -> None:
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        return self.callback is None

    def when(self) -> float:
        return self._when


class Exhausted(Exception):
    """The world ran more callbacks than any sane one does: something spins."""


class SimulatedLoop(asyncio.AbstractEventLoop):
    """The loop of a world. `chance` is what app/ draws from (see app/randomness.py); `outside` is nobody's context."""

    salt = 0  # of the hashes of tasks: there is one loop

    def __init__(self, chance: random.Random, *, limit: int = 600_000) -> None:
        self.chance = chance
        self.now = 0.0
        self.stopped = False
        self.callbacks = 0
        self.failures: list[str] = []
        self.tasks: list[Task] = []
        self.outside = Context()
        self._limit = limit
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._numbers = 0

    # -- for the world

    def run(self) -> None:
        """Run until stopped, or until nothing is left to wait for."""
        _set_running_loop(self)
        try:
            while not self.stopped and (self._ready or self._advance()):
                self._turn()
        finally:
            _set_running_loop(None)

    def _turn(self) -> None:
        ready, limit = self._ready, self._limit
        while ready and not self.stopped:
            handle = ready.popleft()
            callback = handle.callback
            if callback is None:
                continue
            life = handle.context.get(LIFE)
            if life is None:
                handle.context.run(callback, *handle.args)
            elif life.state == RUNNING:
                handle.context.run(callback, *handle.args)
                if life.fuse:
                    life.fuse -= 1
                    if not life.fuse:
                        life.die()
            elif life.state == PAUSED:
                life.held.append(handle)
                continue
            else:
                continue
            self.callbacks += 1
            if self.callbacks > limit:
                raise Exhausted(f"{limit} callbacks by {self.now:.1f} s of virtual time")

    def _advance(self) -> bool:
        """Jump to the next timer; False when there is none."""
        timers = self._timers
        while timers and timers[0][2].callback is None:
            heapq.heappop(timers)
        if not timers:
            return False
        self.now = max(self.now, timers[0][0])
        while timers and timers[0][0] <= self.now:
            handle = heapq.heappop(timers)[2]
            if handle.callback is not None:
                self._ready.append(handle)
        return True

    def go_on(self, life: Life) -> None:
        """Wake a paused process: all that it missed comes at once, in its order."""
        if life.state == PAUSED:
            life.state = RUNNING
            self._ready.extend(life.held)
            life.held.clear()

    def bury(self, tasks: list[Task]) -> None:
        """Drop everything. What still stands in a `finally` runs, into a world that is gone."""
        self.stopped = True
        self._ready.clear()
        self._timers.clear()
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - or asyncio would complain
            if task.done():
                task._log_traceback = False  # noqa: SLF001 - was judged
                continue
            with suppress(Exception):  # what its `finally` may not do here: wait, or reset a context
                task.get_coro().close()
        self._ready.clear()
        self._timers.clear()

    # -- what asyncio asks

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self.stopped

    def is_closed(self) -> bool:
        return False

    def call_soon(  # type: ignore[override]  # a slim handle
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        handle = Handle(callback, args, copy_context() if context is None else context, self.now)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]  # a slim handle
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]  # a slim handle
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        handle = Handle(callback, args, copy_context() if context is None else context, when)
        self._numbers += 1
        heapq.heappush(self._timers, (when, self._numbers, handle))
        return handle

    def create_future(self) -> Future:
        future = Future(loop=self)
        self._numbers += 1
        future.number = self._numbers
        return future

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None, **_eager: Any) -> Task:
        self._numbers += 1
        task = Task(coro, loop=self, name=name or f"Task-{self._numbers}", context=context)
        task.number = self._numbers
        life = LIFE.get() if context is None else context.get(LIFE)
        (self.tasks if life is None else life.tasks).append(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")
