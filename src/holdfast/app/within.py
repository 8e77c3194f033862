"""The time of an attempt."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any

from holdfast.core.commands import ExecuteStep


async def within(task: ExecuteStep, work: Coroutine[Any, Any, Any], waits: Callable[[], None] = lambda: None) -> Any:
    """Give an attempt its time and no more; the author's own TimeoutError passes as it is.

    A function that never waits cannot be interrupted either: its clock is set when it waits for the first time.
    """
    until = asyncio.get_running_loop().time() + task.timeout
    try:
        awaited = work.send(None)
    except StopIteration as done:
        return done.value
    waits()
    limit = asyncio.timeout_at(until)
    try:
        async with limit:
            return await begun(work, awaited)
    except TimeoutError:
        if limit.expired():
            raise TimeoutError(f"attempt {task.attempt} took longer than {task.timeout:g} s") from None
        raise


@coroutine
def begun(work: Coroutine[Any, Any, Any], awaited: Any) -> Generator[Any, Any, Any]:
    """Await the rest of a coroutine that has begun already and waits for `awaited`."""
    while True:
        try:
            yield awaited
        except BaseException as thrown:  # noqa: BLE001 - it is the coroutine's to handle
            try:
                awaited = work.throw(thrown)
            except StopIteration as done:
                return done.value
        else:
            return (yield from work)


def is_stopped() -> bool:
    """Tell whether somebody wants the present task to end; else a CancelledError in it is the author's own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
