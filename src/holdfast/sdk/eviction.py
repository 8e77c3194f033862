"""How a coroutine that is dropped from memory comes to its end.

Laws of this file:
- Its `finally` blocks run; every await in them, and whatever they ask of the engine, raises Evicted.
- Nothing is said: no warning, no log.
- Afterwards nothing refers in a circle, so that counting references frees the run; the garbage collector has no work.
"""

import asyncio
from asyncio import tasks
from collections.abc import AsyncGenerator
from typing import Any, Final

from holdfast.sdk.failures import causes_of

_PATIENCE: Final = 100  # awaits that a coroutine may try while it is dropped
_TASKS: Final = vars(tasks)


class Evicted(BaseException):  # not an Exception: no `except Exception` of an author may catch it
    """The run was dropped from memory; whoever still runs in it can do nothing durable."""


def unwind(coro: Any) -> None:
    """Raise Evicted at the coroutine's await, and again at each await of its `finally` blocks, until it ends."""
    for _ in range(_PATIENCE):
        try:
            coro.throw(Evicted())
        except BaseException:  # noqa: BLE001 - however it ends, it has ended
            return


def unwind_generator(generator: AsyncGenerator[Any, Any]) -> None:
    closing = _end_of(generator)
    try:
        closing.send(None)
    except BaseException:  # noqa: BLE001 - as in unwind
        return
    unwind(closing)


async def _end_of(generator: AsyncGenerator[Any, Any]) -> None:
    await generator.athrow(Evicted())


def forget_callbacks(waiting: list[Any]) -> None:
    """Cut what the futures would call, and what those behind them, of a gather() or shield(), would: all refer back."""
    seen: set[int] = set()
    while waiting:
        future = waiting.pop()
        if not isinstance(future, asyncio.Future) or id(future) in seen:
            continue
        seen.add(id(future))
        waiting.extend(getattr(future, "_children", ()))
        for callback, _ in future._callbacks or ():  # noqa: SLF001 - there is no public way to let go of them
            future.remove_done_callback(callback)
            if getattr(callback, "__globals__", None) is _TASKS:
                waiting.extend(cell.cell_contents for cell in callback.__closure__ or ())


def forget_frames(error: BaseException) -> None:
    """Cut the tracebacks of a failure and of all it comes from: their frames hold the task, and who ran the turn."""
    for failure in causes_of(error):
        BaseException.with_traceback(failure, None)
