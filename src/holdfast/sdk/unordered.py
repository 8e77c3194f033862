"""Sets that would have no order, refused: tasks and futures of a run are ordered by their numbers, nothing else is."""

from asyncio import tasks
from collections.abc import Coroutine
from types import FrameType
from typing import Any, Final

from holdfast.sdk.guard import refuse

TASKS: Final = vars(tasks)
_BY_ADDRESS: Final[Any] = object.__hash__


def refuse_unordered_wait(caller: FrameType) -> None:
    """Refuse `asyncio.wait` for anything that its set could not order."""
    if caller.f_code.co_name != "_wait":
        return
    waited_for = caller.f_locals.get("fs", ())
    if len(waited_for) > 1 and any(type(future).__hash__ is _BY_ADDRESS for future in waited_for):
        refuse("asyncio.wait", "Its set would have no order: wait for tasks, or futures of loop.create_future().")


def refuse_unordered_completion(caller: FrameType | None, coro: Any) -> None:
    """Refuse `asyncio.as_completed` of coroutines."""
    while caller is not None and caller.f_globals is TASKS:
        if caller.f_code.co_qualname.startswith(("as_completed", "_AsCompletedIterator")):
            close(coro)
            refuse(
                "asyncio.as_completed",
                "It puts coroutines into a set, without order: give it tasks, [asyncio.create_task(c) for c in …].",
            )
        caller = caller.f_back


def close(coro: Any) -> None:
    """End a coroutine that never ran, without a warning."""
    if isinstance(coro, Coroutine):
        coro.close()
