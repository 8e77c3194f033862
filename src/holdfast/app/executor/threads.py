"""The threads in which the plain functions of authors run: the process's own, as many as steps may run at once.

Laws of this file:
- A call begins once or never: whoever withdraws it and the thread that takes it ask the same lock.
- What a function raises is carried as a value: no exception ends its thread, and none is too odd to be carried.
- The threads are daemons: a function that never returns does not hold up the end of the process.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import msgspec

log = logging.getLogger(__name__)


class Outcome(msgspec.Struct, frozen=True, eq=False):
    """What a function came to: its value, or what it raised."""

    value: Any = None
    error: BaseException | None = None


class ThreadCall:
    """One call of a function in a thread.

    `ended` holds its outcome, None if it was withdrawn before it began. `started`: when it began, by `time.monotonic`;
    set once `withdraw` has answered no.
    """

    __slots__ = ("_loop", "_once", "_work", "ended", "started")

    def __init__(self, work: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.started = 0.0
        self.ended: asyncio.Future[Outcome | None] = loop.create_future()
        self._work: Callable[[], Any] | None = work
        self._loop = loop
        self._once = threading.Lock()

    def withdraw(self) -> bool:
        """Take it back; False when it has begun, or has been taken back before."""
        if not self._once.acquire(blocking=False):
            return False
        self._work = None
        if not self.ended.done():
            self.ended.set_result(None)
        return True

    def run(self) -> None:
        """Run the function in the present thread, unless it was withdrawn."""
        self.started = time.monotonic()
        if not self._once.acquire(blocking=False):
            return
        work, self._work = self._work, None
        assert work is not None  # noqa: S101 - who holds the lock has it
        try:
            outcome = Outcome(value=work())
        except BaseException as error:  # noqa: BLE001 - whatever it is, whoever called hears of it
            outcome = Outcome(error=error)
        del work
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(self._end, outcome)

    def _end(self, outcome: Outcome) -> None:
        if not self.ended.done():
            self.ended.set_result(outcome)


class Threads:
    """At most `width` threads, made when they are needed, that take calls in order.

    To be used from one thread, the event loop's.
    """

    def __init__(self, width: int, name: str = "holdfast-step") -> None:
        self.width = width
        self._name = name
        self._made = 0
        self._idle = threading.Semaphore(0)
        self._calls: SimpleQueue[ThreadCall] = SimpleQueue()
        self._queued: set[ThreadCall] = set()
        self._draining = False

    def submit(self, work: Callable[[], Any]) -> ThreadCall:
        """Let a thread run `work` as soon as one is free."""
        call = ThreadCall(work, asyncio.get_running_loop())
        self._calls.put(call)
        if not self._finds_thread():
            if self._draining:
                call.withdraw()
            else:
                self._queued.add(call)
                call.ended.add_done_callback(lambda _: self._queued.discard(call))
        return call

    def drain(self) -> None:
        """Withdraw what waits for a thread; from now on nothing waits for one."""
        self._draining = True
        for call in list(self._queued):
            call.withdraw()

    def _finds_thread(self) -> bool:
        """Tell whether a thread is there that takes what was put last; the call is in line already, as it may be it."""
        if self._idle.acquire(blocking=False):
            return True
        if self._made == self.width:
            return False
        self._made += 1
        threading.Thread(target=self._serve, name=f"{self._name}-{self._made}", daemon=True).start()
        return True

    def _serve(self) -> None:
        while True:
            try:
                call = self._calls.get_nowait()
            except Empty:
                self._idle.release()
                call = self._calls.get()
            try:
                call.run()
            except BaseException:  # an exception that was thrown into the thread from outside, and came too late
                log.exception("a thread for steps was interrupted between two functions; it continues")
            del call
