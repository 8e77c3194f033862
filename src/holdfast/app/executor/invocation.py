"""The one place where an author's function is called: of a step, of an effect, of a look-up.

Laws of this file:
- What leaves it is a value or an `Exception`. SystemExit, KeyboardInterrupt, GeneratorExit and their like are boxed
  (`Escaped`): asyncio would end the whole loop by them, and a future cannot carry a StopIteration.
- A CancelledError is the end of this process only after `close`; any other is the author's own failure, and what the
  author's code has asked of our task is taken back.
- An attempt's time begins when its function begins. One that waits for a thread waits as long as its timeout, and is
  then withdrawn: it never begins (`NotBegun`).
- A plain function that outlives its timeout keeps its thread until it returns: it cannot be stopped, but it is told
  (`cancelled()`) before its attempt fails.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractContextManager, suppress
from contextvars import copy_context
from functools import partial
from inspect import isawaitable
from types import CoroutineType, coroutine
from typing import Any

import msgspec

from holdfast.app.executor.blocking import THRESHOLD, Running, name_of, observing
from holdfast.app.executor.threads import Outcome, ThreadCall, Threads
from holdfast.core.commands import ExecuteStep
from holdfast.sdk.cancelled import Attempt
from holdfast.sdk.verdicts import NotSent

log = logging.getLogger(__name__)


class Escaped(Exception):
    """An author's function raised `error`, which is no `Exception`, or cannot pass through a coroutine."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


class NotBegun(NotSent):
    """The function of an attempt waited for a thread in vain: it never began."""


class Withdrawn(NotBegun):
    """The process stops, so the function never began; whoever comes next executes the same attempt."""


def origin(error: Exception) -> BaseException:
    """Give what the author's code raised."""
    return error.error if type(error) is Escaped else error


def contained(function: Callable[[Any], Any], value: Any) -> Any:
    """Call what may touch an author's objects, encoding and decoding them; only an `Exception` leaves it."""
    try:
        return function(value)
    except BaseException as error:
        if _passable(error) is error:
            raise
        raise Escaped(error) from None


def _passable(error: BaseException) -> Exception:
    if not isinstance(error, Exception) or isinstance(error, StopIteration):
        return Escaped(error)
    return error


def value_of(outcome: Outcome | None) -> Any:
    """Give what a function in a thread returned, or raise what it raised."""
    if outcome is None:
        raise Withdrawn("its process was stopped before it began")
    if outcome.error is not None:
        raise _passable(outcome.error)
    return outcome.value


def nothing() -> None:
    """Do nothing where something may be done."""


class Invocation(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One call of an author's function, as an attempt makes it.

    `starts` is called right before the function, in its thread; what it raises keeps the function from being called.
    `outlives` hears of the thread of a plain function that goes on after its timeout.
    """

    task: ExecuteStep
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    is_async: bool
    starts: Callable[[], None] | None = None
    outlives: Callable[[ThreadCall], None] | None = None


class Invoker:
    """Calls authors' functions, `async def` on the event loop, `def` in one of `width` threads.

    `outlived`: how many threads are held by functions whose attempts have timed out.
    """

    def __init__(self, width: int) -> None:
        self._threads = Threads(width)
        self._running = Running()
        self.outlived = 0
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None  # to ask for the running one is a system call up to 3.11

    def run(self, invocation: Invocation, waits: Callable[[], None] = nothing) -> Coroutine[Any, Any, Any]:
        """Give the value of the function; `waits` is called when it waits for the first time, if it ever does.

        Raises:
            Escaped: it raised what is no Exception.
            TimeoutError: it took longer than its time, unless it is one of its own.
            NotBegun: no thread became free in as long a time; Withdrawn: nor before the process stops.
            Exception: whatever else it raised.
        """
        return self._on_loop(invocation, waits) if invocation.is_async else self._plain(invocation, waits)

    def drain(self) -> None:
        """Withdraw what waits for a thread, and let nothing wait for one any more."""
        self._threads.drain()

    def close(self) -> None:
        """From now on a cancellation is the end of the process."""
        self.drain()
        self._closing = True

    def observing(self, threshold: float = THRESHOLD) -> AbstractContextManager[None]:
        """Tell meanwhile, in the log, which attempts block the event loop of the present thread."""
        return observing(self._running, threshold)

    def is_stopped(self) -> bool:
        """Tell whether the end of the process wants the present task to end; else a CancelledError is the author's."""
        task = asyncio.current_task()
        return self._closing and task is not None and task.cancelling() > 0

    def take_back(self, cancelled: asyncio.CancelledError) -> None:
        """Take back a cancellation of the present task that an author's code has asked for, too late for its function.

        Raises:
            CancelledError: it is the end of the process.
        """
        if self.is_stopped():
            raise cancelled
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()

    # -- async def

    async def _on_loop(self, invocation: Invocation, waits: Callable[[], None]) -> Any:
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        this = asyncio.current_task(loop)
        assert this is not None  # noqa: S101 - a coroutine of asyncio runs in a task
        cancelled = this.cancelling()
        task = invocation.task
        until = loop.time() + task.timeout
        try:  # what _begun() does, written out: every step comes here
            if invocation.starts is not None:
                invocation.starts()
            work = invocation.function(*invocation.args, **invocation.kwargs)
        except BaseException as raised:
            if _passable(raised) is raised:
                raise
            raise Escaped(raised) from None
        if type(work) is not CoroutineType:
            work = _awaiting(work)
        running = self._running
        running.entries += 1
        running.task = task
        awaited: Any = None
        error: Exception | asyncio.CancelledError | None = None
        try:
            awaited = work.send(None)
        except StopIteration as done:  # most functions that never wait come here, and no further
            if this.cancelling() != cancelled:
                await self._uncancel(this, cancelled)
            return done.value
        except (Exception, asyncio.CancelledError) as raised:  # noqa: BLE001 - it is told below
            error = raised
        except BaseException as raised:  # noqa: BLE001 - whatever an author's function raises is its failure
            error = Escaped(raised)
        finally:
            running.task = None
        if error is None:
            waits()
            return await self._waiting(this, task, work, awaited, until, cancelled)
        try:
            raise await self._told(error, this, cancelled)
        finally:
            del error  # or it would hold this frame, which holds it

    async def _waiting(
        self,
        this: asyncio.Task[Any],
        task: ExecuteStep,
        work: Coroutine[Any, Any, Any],
        awaited: Any,
        until: float,
        cancelled: int,
    ) -> Any:
        """Go on with a function that waits."""
        value: Any = None
        error: Exception | asyncio.CancelledError | None = None
        limit = _Limit(this, until)
        try:
            value = await _driven(work, awaited, self._running, task)
        except (Exception, asyncio.CancelledError) as raised:  # noqa: BLE001 - it is told below
            error = raised
        limit.end()
        if error is None:
            if this.cancelling() != cancelled:
                await self._uncancel(this, cancelled)
            return value
        if limit.passed and isinstance(error, asyncio.CancelledError) and not self.is_stopped():
            error = _too_late(task)
        try:
            raise await self._told(error, this, cancelled)
        finally:
            del error  # as above

    async def _told(
        self, error: Exception | asyncio.CancelledError, this: asyncio.Task[Any], cancelled: int
    ) -> Exception | asyncio.CancelledError:
        """Say what is to be raised for what a function raised, and leave the task as it was."""
        if isinstance(error, asyncio.CancelledError) and not self.is_stopped():
            error = Escaped(error)
        if this.cancelling() != cancelled:
            await self._uncancel(this, cancelled)
        return error

    async def _uncancel(self, this: asyncio.Task[Any], cancelled: int) -> None:
        """Take back what an author's code has asked of the task that it ran in."""
        if self._closing:
            return
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)  # what was asked for and not delivered yet
        while this.cancelling() > cancelled:
            this.uncancel()

    # -- def

    async def _plain(self, invocation: Invocation, waits: Callable[[], None]) -> Any:
        waits()
        value = await self._in_thread(invocation)
        if not isawaitable(value):
            return value
        # A plain function around an async one, as many decorators are: what it gives is the work.
        work = Invocation(invocation.task, lambda: value, (), {}, is_async=True)
        return await self._on_loop(work, nothing)

    async def _in_thread(self, invocation: Invocation) -> Any:
        task = invocation.task
        context = copy_context()
        attempt = Attempt.within(context)
        call = self._threads.submit(partial(context.run, _begun, invocation))
        since = time.monotonic()
        while not call.ended.done():
            left = since + task.timeout - time.monotonic()
            if left > 0:
                await self._ended(call, left)
            elif call.withdraw():
                raise NotBegun(
                    f"attempt {task.attempt} waited {task.timeout:g} s for one of {self._threads.width} threads and "
                    "never began: let more steps run at once (--concurrency), or write async def"
                )
            elif call.started > since:
                since = call.started
            else:
                attempt.is_over = True
                self._outlive(invocation, call)
                raise TimeoutError(f"{_too_late(task)}, and its thread goes on")
        return value_of(call.ended.result())

    async def _ended(self, call: ThreadCall, seconds: float) -> None:
        """Wait for the end of a call, up to so many seconds."""
        try:
            await asyncio.wait([call.ended], timeout=seconds)
        except asyncio.CancelledError as cancelled:
            if self.is_stopped():
                call.withdraw()
            self.take_back(cancelled)

    def _outlive(self, invocation: Invocation, call: ThreadCall) -> None:
        self.outlived += 1
        log.warning(
            "%s exceeded its timeout of %g s and keeps its thread until it returns: a thread cannot be stopped. "
            "%d of %d threads are kept so. Give what it calls a timeout, or write async def",
            name_of(invocation.task),
            invocation.task.timeout,
            self.outlived,
            self._threads.width,
        )
        call.ended.add_done_callback(partial(self._returned, invocation.task))
        if invocation.outlives is not None:
            invocation.outlives(call)

    def _returned(self, task: ExecuteStep, _: asyncio.Future[Outcome | None]) -> None:
        self.outlived -= 1
        log.warning("%s has returned after its timeout; its thread is free again", name_of(task))


class _Limit:
    """The time of an attempt that waits on the event loop: up to `until`, by the loop's clock."""

    __slots__ = ("_task", "_timer", "passed")

    def __init__(self, task: asyncio.Task[Any], until: float) -> None:
        self.passed = False
        self._task = task
        self._timer = task.get_loop().call_at(until, self._pass)

    def end(self) -> None:
        self._timer.cancel()

    def _pass(self) -> None:
        self.passed = True
        self._task.cancel()


@coroutine
def _driven(
    work: Coroutine[Any, Any, Any], awaited: Any, running: Running, task: ExecuteStep
) -> Generator[Any, Any, Any]:
    """Await the rest of a coroutine that has begun and waits for `awaited`; boxes what is no Exception."""
    resume: Callable[[Any], Any]
    given: Any = None
    while True:
        try:
            yield awaited
        except GeneratorExit:  # nobody but whoever drops this coroutine unfinished
            with suppress(BaseException):
                work.close()
            raise
        except BaseException as thrown:  # noqa: BLE001 - it is the author's to handle
            resume, given = work.throw, thrown
        else:
            resume = work.send
        running.entries += 1
        running.task = task
        try:
            awaited = resume(given)
        except StopIteration as done:
            return done.value
        except (Exception, asyncio.CancelledError):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever an author's function raises is its failure
            raise Escaped(error) from None
        finally:
            running.task = None
            given = None  # or an exception would hold this frame, which holds it


async def _awaiting(work: Any) -> Any:
    """Make a coroutine of whatever else can be awaited."""
    return await work


def _begun(invocation: Invocation) -> Any:
    """Call the function; of an `async def` that gives its coroutine."""
    try:
        if invocation.starts is not None:
            invocation.starts()
        return invocation.function(*invocation.args, **invocation.kwargs)
    except BaseException as error:
        if _passable(error) is error:
            raise
        raise Escaped(error) from None


def _too_late(task: ExecuteStep) -> TimeoutError:
    return TimeoutError(f"attempt {task.attempt} took longer than {task.timeout:g} s")
