"""Telling which attempt blocks the event loop: an `async def` that computes or sleeps without awaiting.

Laws of this file:
- Entering an author's coroutine and leaving it are assignments; a thread of its own looks, and measures by itself.
- It only tells. Nothing is interrupted: an attempt has its timeout, and others wait meanwhile.
"""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from holdfast.core.commands import ExecuteStep
from holdfast.sdk.frames import Place, blamed, is_engine, module_of

log = logging.getLogger(__name__)

THRESHOLD = 1.0
LOOKS = 8
"""How often it looks within the threshold."""


class Running:
    """Whose coroutine the event loop is in: `task` while it is in one; `entries` counts, so that each is told apart."""

    __slots__ = ("entries", "task")

    def __init__(self) -> None:
        self.entries = 0
        self.task: ExecuteStep | None = None


class _Observer:
    """Looks at the event loop from a thread of its own."""

    def __init__(self, running: Running, threshold: float) -> None:
        self._running = running
        self._threshold = threshold
        self._loop_thread = threading.get_ident()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._observe, name="holdfast-blocking", daemon=True)
        self._seen = -1
        self._lasted = 0.0
        self._blocking: ExecuteStep | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _observe(self) -> None:
        pause = self._threshold / LOOKS
        while not self._stopped.wait(pause):
            entries, task = self._running.entries, self._running.task
            if task is None or entries != self._seen:
                self._ended()
                self._seen = entries
                self._lasted = 0.0
                continue
            self._lasted += pause
            if self._blocking is None and self._lasted >= self._threshold:
                self._blocking = task
                log.warning(
                    "%s blocks the event loop: for %.1f s everything in this process has waited for it\n  %s\n"
                    "  Write def instead of async def, so that it runs in a thread; or await what it waits for.",
                    name_of(task),
                    self._lasted,
                    self._place(),
                )

    def _ended(self) -> None:
        if self._blocking is not None:
            log.warning("%s no longer blocks the event loop, after %.1f s", name_of(self._blocking), self._lasted)
            self._blocking = None

    def _place(self) -> Place | None:
        frames: list[FrameType] = []
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - the only way to another thread's frame
        while frame is not None and not is_engine(module_of(frame)):
            frames.append(frame)
            frame = frame.f_back
        return blamed(frames)


def name_of(task: ExecuteStep) -> str:
    """Name an attempt for the log."""
    return f"{task.kind} {task.step_id} of run {task.run_id} (attempt {task.attempt})"


@contextmanager
def observing(running: Running, threshold: float = THRESHOLD) -> Iterator[None]:
    """Observe the event loop of the present thread meanwhile."""
    observer = _Observer(running, threshold)
    observer.start()
    try:
        yield
    finally:
        observer.stop()
