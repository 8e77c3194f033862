"""Just running a plain function from a coroutine: in a thread, outside of any attempt.

Laws of this file:
- asyncio's own threads are left alone: it looks up host names in them, and there are few.
- What the function raises is carried as a value: a future cannot carry a StopIteration, and would never be done.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, partial
from typing import Any

WIDTH = 64


async def in_thread(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Give what the function returns, or raise what it raises; it sees the caller's context."""
    call = partial(copy_context().run, _outcome, function, args, kwargs)
    value, error = await asyncio.get_running_loop().run_in_executor(_threads(), call)
    if error is not None:
        raise error
    return value


def _outcome(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Any, BaseException | None]:
    try:
        return function(*args, **kwargs), None
    except BaseException as error:  # noqa: BLE001 - the caller's to handle
        return None, error


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(WIDTH, "holdfast-call")
