"""What `asyncio.all_tasks()` shows to authors' code: tasks of authors' code.

To cancel all tasks, or to wait for them, is what many a program does at its end. On the event loop of a service these
are the engine's, and the attempts of every other run: it would stand still, and say nothing.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from holdfast.sdk.frames import is_author, is_library

_ALL: Final = asyncio.all_tasks


@contextmanager
def showing_own_tasks(ours: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Show authors' code no other tasks of this loop meanwhile, its own current one aside."""

    def all_tasks(loop: asyncio.AbstractEventLoop | None = None) -> set[asyncio.Task[Any]]:
        tasks = _ALL(loop)
        asking = sys._getframe(1)  # noqa: SLF001 - the only way to tell who asks
        if (loop or asyncio.get_running_loop()) is not ours or not (is_author(asking) or is_library(asking)):
            return tasks
        return {task for task in tasks if task is asyncio.current_task() or _is_authors(task)}

    asyncio.all_tasks = asyncio.tasks.all_tasks = all_tasks
    try:
        yield
    finally:
        asyncio.all_tasks = asyncio.tasks.all_tasks = _ALL


def _is_authors(task: asyncio.Task[Any]) -> bool:
    frame = getattr(task.get_coro(), "cr_frame", None)
    return frame is not None and is_author(frame)
