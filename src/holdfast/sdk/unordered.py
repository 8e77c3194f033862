"""The sets inside asyncio, in one order: `wait`, `as_completed` and `gather` of workflow code.

Laws of this file:
- `wait` and `as_completed` put what they are given into a set. In a turn it is one that keeps the given order, however
  they were imported; outside of turns it is the builtin.
- What has no order by itself is refused, naming the author's line: a set of coroutines, futures without a number.
"""

import asyncio
import sys
from asyncio import _get_running_loop, tasks
from collections.abc import Coroutine, Iterable
from functools import cache
from typing import Any, Final

from holdfast.sdk.guard import Deterministic, refuse

_GATHER: Final[Any] = vars(tasks)["_GatheringFuture"]  # what gather() returns; asyncio has no public name for it
_BY_ADDRESS: Final[Any] = object.__hash__


@cache
def order_asyncio() -> None:
    """Make asyncio ask for order where it would make a set; for the module of the loop alone."""
    setattr(tasks, "set", _set)  # noqa: B010 - a global of that module, found before the builtin
    _GATHER.__hash__ = _hash_of_gather


def _set(*given: Iterable[Any]) -> Any:
    if given and isinstance(_get_running_loop(), Deterministic):
        return _in_order(given[0])
    return set(*given)


def _in_order(given: Iterable[Any]) -> dict[Any, None]:
    """Give each once, in the order of `given`."""
    ordered = dict.fromkeys(given)
    if len(ordered) > 1:
        is_set = isinstance(given, (set, frozenset))
        for one in ordered:
            if (is_set or asyncio.isfuture(one)) and type(one).__hash__ is _BY_ADDRESS:
                _refuse(ordered)
    return ordered


def _refuse(given: Iterable[Any]) -> None:
    for one in given:
        close(one)
    asked = sys._getframe(3).f_code.co_name  # noqa: SLF001 - the only way to a frame
    refuse(
        "asyncio.wait" if asked == "wait" else "asyncio.as_completed",
        "It has no order that would be the same again: give a list, or tasks, or futures of loop.create_future().",
    )


def _hash_of_gather(future: asyncio.Future[Any]) -> int:
    """A number of the loop, drawn when first asked for: gather()s in a set are then ordered as tasks are."""
    loop = future.get_loop()
    if not isinstance(loop, Deterministic):
        return object.__hash__(future)
    number: int = getattr(future, "_number", 0)
    if not number:
        number = loop.next_number()
        setattr(future, "_number", number)  # noqa: B010 - asyncio's own class, which the checker knows without it
    return number


def close(coro: Any) -> None:
    """End a coroutine that never ran, without a warning."""
    if isinstance(coro, Coroutine):
        coro.close()
