"""Whether a task is still at work on a cancellation: it tidies up, or has yet to hear of it.

Law of this file: nothing of the author's is asked. Which exception a suspended coroutine is handling, Python tells to
nobody but its collector; what a variable still names after it was handled is told apart by counting.
"""

import gc
from asyncio import CancelledError, Future, Task
from typing import Any, Final

from holdfast.sdk.shield import Verdict

_FRAMES: Final = ("cr_frame", "gi_frame", "ag_frame")
_AWAITED: Final = ("cr_await", "gi_yieldfrom", "ag_await")
_KINDS: Final = {"coroutine": 0, "generator": 1, "async_generator": 2}
_STEPS: Final = frozenset({"async_generator_asend", "async_generator_athrow"})


def is_cancelling(task: Task[Any]) -> bool:
    """Tell whether a cancellation of a suspended task has neither ended it nor been swallowed by its code."""
    seen: set[int] = set()
    todo: list[Task[Any]] = [task]
    while todo:
        one = todo.pop()
        if id(one) in seen or one.done():
            continue
        seen.add(id(one))
        if _is_handling(one.get_coro()):
            return True
        waiter = one._fut_waiter  # type: ignore[attr-defined]  # noqa: SLF001 - there is no public way
        if isinstance(waiter, Verdict) and waiter.is_cancelled_late:
            return True
        if isinstance(waiter, Task):
            todo.append(waiter)
        elif isinstance(waiter, Future):  # of gather(), which passes a cancellation on
            todo += [child for child in getattr(waiter, "_children", ()) if isinstance(child, Task)]
    return False


def _is_handling(suspended: Any) -> bool:
    """Tell whether a coroutine, or one that it awaits, stands in an `except` or `finally` of a cancellation."""
    while suspended is not None:
        frame = _first(suspended, _FRAMES)
        if frame is not None:
            held = sum(issubclass(type(one), CancelledError) for one in gc.get_referents(suspended))
            if held > sum(issubclass(type(one), CancelledError) for one in frame.f_locals.values()):
                return True
        suspended = _first(suspended, _AWAITED)
    return False


def _first(suspended: Any, names: tuple[str, ...]) -> Any:
    number = _KINDS.get(type(suspended).__name__)
    if number is not None:
        return getattr(suspended, names[number])
    if names is _AWAITED and type(suspended).__name__ in _STEPS:
        return next((one for one in gc.get_referents(suspended) if type(one).__name__ == "async_generator"), None)
    return None
