"""The event loop of a service, and the end of its process: when its own work ends, and in its time.

Laws of this file:
- An exit, an interruption or a `loop.stop()` out of a task or a callback that an author's step has made does not end
  the loop; asyncio would end it. Such a task has its exception already, and whoever awaits it gets it.
- What authors' code leaves behind is not waited for: tasks that go on after they were cancelled, threads that go on.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)

GRACE = 2.0
"""Seconds for what is left behind."""


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run a service's work on an event loop of its own, to its end and to no other."""
    import uvloop

    loop = uvloop.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        try:
            return _finish(loop, loop.create_task(work))
        finally:
            _dismiss(loop)
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _finish(loop: asyncio.AbstractEventLoop, main: asyncio.Task[T]) -> T:
    from holdfast.sdk.failures import trace_of

    while not main.done():
        try:
            loop.run_until_complete(main)
        except (SystemExit, KeyboardInterrupt, RuntimeError) as error:
            if main.done():
                break
            if loop.is_closed() or _is_of_the_operator(error):
                raise
            log.warning(
                "a task or callback that a step started tried to end this process; it continues\n%s",
                trace_of(error),
            )
    return main.result()


def _is_of_the_operator(error: BaseException) -> bool:
    """Tell whether it is the answer to SIGINT: not once the service takes the signal itself."""
    return isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _dismiss(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is left on the loop, and wait for it a while."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        _finish(loop, loop.create_task(asyncio.wait(left, timeout=GRACE)))
    for task in left:
        if not task.done():
            log.warning("a task ignores its cancellation; not waiting for it: %s", task.get_name())
    with suppress(TimeoutError):
        _finish(loop, loop.create_task(asyncio.wait_for(loop.shutdown_asyncgens(), GRACE)))


def leave_with(code: int) -> None:
    """End the process with this code soon after its main thread has ended, whatever other threads do.

    Python waits for every thread that is not a daemon, and authors' steps leave such threads behind. Where they have
    closed the streams, nothing is left to be said, and it ends at once.
    """
    if sys.stdout.closed or sys.stderr.closed:
        end_now(code)
    threading.Thread(target=_leave, args=(code,), name="holdfast-end", daemon=True).start()


def _leave(code: int) -> None:
    threading.main_thread().join()
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            thread.join(GRACE)
            if thread.is_alive():
                log.warning("a thread that a step started is still running; not waiting for it: %s", thread.name)
                end_now(code)


def end_now(code: int) -> None:
    """End the process at once; nothing but what it has printed is brought to its end."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)


class Deadline:
    """Ends the process so many seconds after `begin`, even if its event loop is blocked for ever."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._begun: SimpleQueue[int] = SimpleQueue()
        threading.Thread(target=self._watch, name="holdfast-deadline", daemon=True).start()

    def begin(self, code: int) -> None:
        """Begin to count; may be called by a signal handler, in the middle of anything."""
        self._begun.put(code)

    def _watch(self) -> None:
        code = self._begun.get()
        time.sleep(self._seconds)
        said = f"holdfast: what runs did not end within {self._seconds:g} s; the process ends all the same\n"
        if not sys.stderr.closed:
            with suppress(OSError):
                os.write(2, said.encode())  # not by the log: whoever blocks may hold its lock
        os._exit(code)
