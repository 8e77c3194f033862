"""Which loop runs in this thread, while one is entered from within another.

asyncio has no public way to run a second loop inside the first. Up to 3.13 the running loop is all that has to be put
aside; from 3.14 on the current task belongs to the thread, not to the loop.
"""

import asyncio
import sys
from asyncio import _get_running_loop, _set_running_loop, tasks
from typing import Any, Final, TypeAlias

TASK_OF_THREAD: Final = sys.version_info >= (3, 14)

_Outer: TypeAlias = tuple[asyncio.AbstractEventLoop | None, asyncio.Task[Any] | None]


def enter(loop: asyncio.AbstractEventLoop) -> _Outer:
    """Make `loop` the running loop of this thread; the answer says what ran before."""
    outer = _get_running_loop()
    if outer is loop:
        raise RuntimeError("the loop is in a turn already")
    outside = set_aside(outer) if TASK_OF_THREAD else None
    _set_running_loop(loop)
    return outer, outside


def leave(before: _Outer) -> None:
    outer, outside = before
    _set_running_loop(outer)
    if TASK_OF_THREAD:
        take_up(outer, outside)


def set_aside(outer: asyncio.AbstractEventLoop | None) -> asyncio.Task[Any] | None:
    """Set the current task of the outer loop aside, as asyncio does it."""
    task: asyncio.Task[Any] | None = None
    if outer is not None:
        task = tasks._swap_current_task(outer, None)  # type: ignore[attr-defined]  # noqa: SLF001 - there is no public way
    return task


def take_up(outer: asyncio.AbstractEventLoop | None, outside: asyncio.Task[Any] | None) -> None:
    if outer is not None:
        tasks._swap_current_task(outer, outside)  # type: ignore[attr-defined]  # noqa: SLF001 - as in set_aside
