"""The deterministic event loop: one for each live run, entered for one event at a time.

Laws of this file:
- First in, first out. The order of callbacks follows from the order in which futures are resolved and timers fired,
  and from nothing else: no clock, no address, no hash seed, no garbage collector.
- Time stands still within a turn; the owner sets it. A wait is a durable timer that the owner stores and fires.
- A turn that asks for very much stands still between two steps (`paused`), and goes on when it is drained again.
- Tasks and futures hash by their number, so that a set of them (`wait`, `as_completed`, `TaskGroup`) has one order in
  every process; what has none is refused. A task that is not done is held here, never by chance.
- What a loop could do besides (sockets, threads, processes, signals) is refused, naming the author's line.
- Dropping a run has no effect but the memory it frees: `finally` blocks run; durable calls there raise Evicted.
- An async generator left before its end is closed where its last reference goes; where no turn runs, with the run.
"""

import asyncio
import math
import random
import sys
import warnings
from asyncio import _get_running_loop, _set_running_loop, tasks
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextvars import Context, copy_context
from hashlib import blake2b
from typing import Any, Final, TypeAlias, TypeVar

from holdfast.sdk import generators
from holdfast.sdk.cancellation import Cancellations
from holdfast.sdk.durable_timers import NO_TIMERS, DurableTimer, Timers
from holdfast.sdk.eviction import Evicted, forget_callbacks, forget_frames, unwind, unwind_generator
from holdfast.sdk.frames import Place, blamed, is_author, standing
from holdfast.sdk.guard import RefusingLoop
from holdfast.sdk.handles import Handle
from holdfast.sdk.running_loop import TASK_OF_THREAD, enter, leave, set_aside, take_up
from holdfast.sdk.tasks import Future, Task, waiter_of
from holdfast.sdk.turn_limit import TURN_STEPS, TurnTooLong
from holdfast.sdk.unordered import close, order_asyncio

__all__ = ["DurableTimer", "Evicted", "Future", "Handle", "Task", "Timers", "WorkflowLoop"]

order_asyncio()

T = TypeVar("T")
Handler: TypeAlias = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]

_MICROS: Final = 1_000_000
LOOK: Final = 64
"""Steps of the loop between two looks at how much a turn has asked for. A turn that has fewer is never looked at."""
_warn_unawaited: Final = warnings._warn_unawaited_coroutine  # type: ignore[attr-defined]  # noqa: SLF001 - called by the interpreter


class WorkflowLoop(RefusingLoop):
    __slots__ = (
        "_abandoned",
        "_chance",
        "_generators",
        "_handler",
        "_numbers",
        "_reached",
        "_ready",
        "_sweep_at",
        "_tasks",
        "_timer_numbers",
        "_turn",
        "cancellations",
        "entries",
        "evicted",
        "identity",
        "interrupted",
        "look",
        "now",
        "overdue",
        "paused",
        "replaying",
        "salt",
        "steps_left",
        "timers",
        "turn_steps",
        "unhandled",
    )

    def __init__(self, timers: Timers, turn_steps: int = TURN_STEPS) -> None:
        self.timers = timers
        self.turn_steps = turn_steps
        self.steps_left = turn_steps
        self.look = LOOK
        self.paused = False
        self.entries = 0
        self.overdue = False
        self.interrupted: TurnTooLong | None = None
        self.now = 0.0
        self._reached = 0.0
        self.identity = ""
        self.salt = 0
        self.replaying = False
        self._turn = 0
        self._chance: dict[str, random.Random] = {}
        self.evicted = False
        self.unhandled: list[dict[str, Any]] = []
        self._ready: deque[Handle] = deque()
        self.cancellations: Cancellations | None = None
        self._tasks: list[Task] = []
        self._sweep_at = 16
        self._numbers = 0
        self._timer_numbers = 0
        self._handler: Handler | None = None
        self._abandoned: list[AsyncGenerator[Any, Any]] = []
        self._generators: set[int] | None = None

    # for the owner:

    def set_time(self, micros: int) -> None:
        """The time of the turn to come, in microseconds since the Unix epoch."""
        now = micros / _MICROS
        self.now = now if now > self._reached else self._reached  # noqa: FURB136 - max() costs a call, every turn
        self._turn += 1
        if self._chance:
            self._chance = {}

    def fire(self, timer: DurableTimer) -> None:
        """A timer fires, at its due time: in microseconds that may be a little before its moment."""
        self._reached = max(self._reached, timer.moment)
        self.now = max(self.now, timer.moment)
        self._ready.append(timer)

    def require_live(self) -> None:
        """Every durable call asks here first."""
        if self.evicted:
            raise Evicted

    def durable_future(self) -> Future:
        """What a durable call of the engine awaits."""
        future = Future(loop=self)
        self._numbers += 1
        future.number = self._numbers
        return future

    def call_inside(self, work: Callable[..., T], *args: Any) -> T:
        """Hold the author's code that runs between turns, as when values are read, to the laws of a turn."""
        if _get_running_loop() is self:
            return work(*args)
        outer = enter(self)
        try:
            return work(*args)
        finally:
            leave(outer)

    def drain(self) -> None:
        """One turn: run what is ready, and what becomes ready by it, until quiet. Another loop's task may call it.

        Raises:
            TurnTooLong: it does not come to rest; the loop cannot be entered again.
        """
        if self.evicted:
            raise RuntimeError("the run was dropped: its loop cannot be entered again")
        ready = self._ready
        if not ready:
            return
        left = quiet = self.turn_steps
        if self.paused:
            self.paused = False
            left = quiet = self.steps_left
        elif (cancellations := self.cancellations) is not None and (cancellations.made or cancellations.times):
            cancellations.begin_turn()
        # What enter() and leave() do, written out: a turn comes here for every event.
        outer = _get_running_loop()
        if outer is self:
            raise RuntimeError("the loop is in a turn already")
        outside = set_aside(outer) if TASK_OF_THREAD else None
        _set_running_loop(self)
        hooks = generators.watch(WorkflowLoop)
        try:
            while True:
                left = self._run_ready(left)
                if self.paused:
                    self.steps_left = left
                    return
                cancellations = self.cancellations
                if cancellations is None or left == quiet or not cancellations.held:
                    return
                quiet = left - cancellations.release()
        finally:
            if hooks is not None:
                sys.set_asyncgen_hooks(*hooks)
            _set_running_loop(outer)
            if TASK_OF_THREAD:
                take_up(outer, outside)

    def _run_ready(self, left: int) -> int:
        """Run what is ready, in `left` steps at most; the answer is how many are left then."""
        ready = self._ready
        look_at = left - self.look if left > self.look else 0
        handle: Handle | None
        try:
            while ready:
                left -= 1
                if left < look_at or self.overdue:
                    if left < 0 or self.overdue:
                        raise self._too_long(left)
                    if self.is_full():
                        self.paused = True
                        return left + 1
                    look_at = left + 1 - self.look if left > self.look else 0
                handle = ready.popleft()
                callback, args = handle.callback, handle.args
                if callback is None:
                    continue
                try:
                    handle.context.run(callback, *args)
                except (KeyboardInterrupt, SystemExit):
                    pass  # the author's exit() ends the task that called it, which bears it, and nothing else
                except BaseException as error:  # noqa: BLE001 - as in asyncio: the owner decides
                    self.call_exception_handler({"message": "a callback raised", "exception": error})
                cancellations = self.cancellations
                if cancellations is not None and cancellations.made:
                    cancellations.settle(callback, args, self.timers)
            if self.overdue:
                raise self._too_long(left)
        finally:
            handle = callback = None  # a failure's traceback may keep this frame
            args = ()
        return left

    def _too_long(self, left: int) -> TurnTooLong:
        if self.interrupted is not None:
            return self.interrupted
        # Where the next task that would run stands is in the loop that never rests, or near it.
        tasks_ = (getattr(handle.callback, "__self__", None) for handle in self._ready)
        task = next((one for one in tasks_ if isinstance(one, asyncio.Task)), None)
        place = None if task is None else blamed(standing(task.get_coro()))
        if left < 0:
            return TurnTooLong(f"did not come to rest within {self.turn_steps:,} steps of its loop", place)
        return TurnTooLong("took too long", place)

    def is_full(self) -> bool:
        """Tell whether this turn has asked for so much that it is to stand still; asked every `look` steps."""
        return False

    def place_of(self, future: object, main: asyncio.Task[Any] | None) -> Place | None:
        """Find the author's line that awaits `future`, or, where only asyncio does, the line at which `main` stands."""
        waiting = [task for task in self._tasks if waiter_of(task) is future] if future is not None else []
        for task in (*waiting[:1], main):
            frame = None if task is None else next(filter(is_author, standing(task.get_coro())), None)
            if frame is not None:
                return Place(frame.f_code.co_filename, frame.f_lineno)
        return None

    def evict(self) -> None:
        """Drop the run: end all that is unfinished without effect, and break the cycles that would keep its memory."""
        if self.evicted:
            return
        outer = enter(self)
        self.evicted = True
        warnings._warn_unawaited_coroutine = _warn_if_live  # type: ignore[attr-defined]  # noqa: SLF001 - called by the interpreter
        try:
            self._ready.clear()
            for task in self._tasks:
                self._end(task)
            for generator in self._abandoned:
                unwind_generator(generator)
            self._ready.clear()
            self.cancellations = None
            self._tasks.clear()
            self._abandoned.clear()
            generators.disown(self._generators or (), self)
            self.unhandled.clear()
            self._handler = None
            self.timers = NO_TIMERS
        finally:
            warnings._warn_unawaited_coroutine = _warn_unawaited  # type: ignore[attr-defined]  # noqa: SLF001 - as above
            leave(outer)

    def close(self) -> None:
        """The run has ended, and its outcome was taken. Tasks that the author left behind are dropped.

        Failures lose their tracebacks, whose frames would hold the run: format them before.
        """
        self.evict()

    def _end(self, task: Task) -> None:
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - or asyncio would complain of our dropping it
        if task.done():
            try:
                task.result()  # also makes the task let go of the traceback
            except BaseException as error:  # noqa: BLE001 - a failure that was the author's to see
                forget_frames(error)
            return
        coro = task.get_coro()
        tasks._enter_task(self, task)  # noqa: SLF001 - for loops of third parties
        try:
            unwind(coro)
        finally:
            tasks._leave_task(self, task)  # noqa: SLF001 - as above
        waiter = task._fut_waiter  # type: ignore[attr-defined]  # noqa: SLF001 - the other half of the cycle
        forget_callbacks([task, waiter])

    def begins(self, generator: int) -> None:
        """An async generator begins in this turn."""
        if self._generators is None:
            self._generators = set()
        self._generators.add(generator)

    def left(self, generator: AsyncGenerator[Any, Any]) -> None:
        """The last reference to an unfinished async generator went."""
        if self.evicted:
            unwind_generator(generator)
        elif _get_running_loop() is self:
            _closing = self.create_task(generators.closed(generator))
        else:
            self._abandoned.append(generator)

    # what asyncio asks:

    def coroutines(self) -> Iterable[Any]:
        return (task.get_coro() for task in reversed(self._tasks) if not task.done())

    def note_cancellations(self) -> Cancellations:
        """Give what notes how far cancellations reach, from the first one on: most runs have none."""
        if self.cancellations is None:
            self.cancellations = Cancellations(self._ready)
        return self.cancellations

    def next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def time(self) -> float:
        return self.now

    def repeats(self) -> bool:
        return self.replaying or self.evicted

    def chance(self, path: str) -> random.Random:
        """Give what libraries draw from in this turn, by each path of its own; the run's own is the author's alone."""
        generator = self._chance.get(path)
        if generator is None:
            seed = blake2b(
                f"{self.identity}/{self._turn}/{path}".encode(), digest_size=16, person=b"libraries"
            ).digest()
            generator = self._chance[path] = random.Random(seed)
        return generator

    # Debugging would read clocks and addresses: it stays off. asyncio asks at every future, and C answers sooner.
    get_debug = staticmethod(bool)  # bool() is False

    def set_debug(self, enabled: bool) -> None:  # noqa: FBT001 - asyncio's signature
        """It stays off."""

    def is_running(self) -> bool:
        return _get_running_loop() is self

    def is_closed(self) -> bool:
        return self.evicted

    async def shutdown_asyncgens(self) -> None:
        """Nothing: they are closed one by one."""

    def call_soon(  # type: ignore[override]  # a slim handle
        self,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> Handle:
        handle = Handle(callback, args, copy_context() if context is None else context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]  # as call_soon
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> Handle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]  # as call_soon
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> Handle:
        if when <= self.now:
            return self.call_soon(callback, *args, context=context)
        if math.isnan(when):
            raise ValueError("a wait until NaN never ends and never begins")
        self.require_live()
        self._timer_numbers += 1
        if context is None:
            context = copy_context()
        timer = DurableTimer(callback, args, context, self, self._timer_numbers, when, when < math.inf)
        if when < math.inf:
            self.timers.start(timer)
        return timer

    def create_future(self) -> Future:
        return self.durable_future()

    def create_task(
        self,
        coro: Any,
        *,
        name: str | None = None,
        context: Context | None = None,
        **_eager: Any,  # eager_start of 3.12+: a task starts in its order in any case
    ) -> Task:
        if self.evicted:
            close(coro)
            raise Evicted
        self._numbers += 1
        number = self._numbers
        task = Task(coro, loop=self, name=name or f"Task-{number}", context=context)
        task.number = number
        self._tasks.append(task)
        if number > self._sweep_at:
            self._tasks = [task for task in self._tasks if not task.done()]
            self._sweep_at = number + len(self._tasks) + 16
        return task

    def get_task_factory(self) -> None:
        return None

    def get_exception_handler(self) -> Handler | None:
        return self._handler

    def set_exception_handler(self, handler: Handler | None) -> None:
        self._handler = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.unhandled.append(context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Within a turn to the author's handler, if there is one; else kept for the owner in `unhandled`."""
        if self.evicted:
            return
        if self._handler is None or not self.is_running():
            self.default_exception_handler(context)
            return
        try:
            self._handler(self, context)
        except BaseException as error:  # noqa: BLE001 - a handler that fails must not end the turn
            self.default_exception_handler(context)
            self.default_exception_handler({"message": "the exception handler raised", "exception": error})


def _warn_if_live(coro: Any) -> None:
    loop = _get_running_loop()
    if not (isinstance(loop, WorkflowLoop) and loop.evicted):
        _warn_unawaited(coro)
