"""Tasks and futures of a run.

Laws of this file:
- They hash by their number, so that a set of them (`wait`, `as_completed`, `TaskGroup`) has one order in every process.
  Above the number a task's hash has a salt of its run: a library that keeps the tasks of all runs in one dictionary, as
  anyio does, would else search it from end to end for the first task of each.
- The loop hears of each cancellation that is made within a turn: what it makes of it stands in cancellation.py.
- To cancel a task that awaits another one cancels that one; a listener at the end of the line hears of both.
"""

import asyncio
from asyncio import _get_running_loop
from typing import Any


class Future(asyncio.Future[Any]):
    __slots__ = ("number",)

    number: int

    def __hash__(self) -> int:
        return self.number


class Listener(Future):
    """A future that takes a cancellation for a request, and goes on waiting."""

    __slots__ = ()

    def hear(self, task: asyncio.Task[Any], words: str | None) -> bool:
        """`task`, which waits for this, was cancelled; the answer is whether these words are known to be repeated."""
        raise NotImplementedError

    def will_be_repeated(self, words: str | None) -> None:
        """Whoever cancelled in these words does so again by himself."""
        raise NotImplementedError


class Task(asyncio.Task[Any]):
    __slots__ = ("number",)

    number: int

    def __hash__(self) -> int:
        try:
            number = self.number
        except AttributeError:  # asyncio's registry of all tasks asks while the task is built, and remembers
            return object.__hash__(self)
        loop: Any = self.get_loop()
        return number + int(loop.salt)

    def cancel(self, msg: Any | None = None) -> bool:
        loop: Any = self.get_loop()
        is_in_turn = _get_running_loop() is loop
        if not is_in_turn:
            return self._cancel(msg)
        cancellations = loop.note_cancellations()
        begun = cancellations.begin()
        try:
            return self._cancel(msg)
        finally:
            cancellations.end(begun, self.number, msg)

    def _cancel(self, msg: Any | None) -> bool:
        is_heard = super().cancel(msg)
        waiter = waiter_of(self)
        if is_heard and isinstance(waiter, asyncio.Task):  # which was cancelled in turn
            while isinstance(waiter, asyncio.Task):
                waiter = waiter_of(waiter)
            if isinstance(waiter, Listener):
                waiter.hear(self, words_of(msg))
        return is_heard


def waiter_of(task: asyncio.Task[Any]) -> object:
    return task._fut_waiter  # type: ignore[attr-defined]  # noqa: SLF001 - there is no public way


def words_of(message: object) -> str | None:
    return message if type(message) is str else None
