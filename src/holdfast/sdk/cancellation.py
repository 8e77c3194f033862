"""Cancellations that are said again and again, and those of many tasks at once.

asyncio cancels once. anyio goes on cancelling while a task is in a cancelled scope: a callback cancels the tasks that
wait there and asks to be called again at once. The task of an effect in flight does not leave before the verdict.

Laws of this file:
- A callback that cancels tasks and, as its last act, asks for itself again is a repeater. No library is known by name.
- A repeater that was heard by effects in flight alone waits until something else has run. When nothing else is left to
  run, the turn is over: the loop counts as quiet.
- A repeater that reached tasks PATIENCE times in a turn waits for the next turn, if there will be one: whom it reaches
  may wait for others, who need more turns to end.
- Tasks that one callback cancels in the same words wake in the order of their numbers. Whoever keeps them in a set of
  objects of his own, as anyio keeps its scopes, tells them in the order of addresses.
"""

from collections import deque
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any, Final, NamedTuple, Protocol

from holdfast.sdk.handles import Handle
from holdfast.sdk.tasks import Listener, words_of

PATIENCE: Final = 100


class Waits(Protocol):
    def is_waiting(self) -> bool:
        """Whether anything outside may bring another turn."""


class Cancelled(NamedTuple):
    """A task whose cancellation made callbacks ready, and where they stand."""

    number: int
    words: str | None
    start: int
    end: int


class Cancellations:
    """Of one loop. `made` tells that the callback that runs has cancelled; `held` waits for something else to run."""

    __slots__ = ("_absorbed", "_begun", "_reached", "_ready", "_repeated", "_tired", "held", "made", "times")

    def __init__(self, ready: deque[Handle]) -> None:
        self.made = False
        self.held: list[Handle] = []
        self.times: dict[Any, int] = {}
        self._ready = ready
        self._begun = False
        self._absorbed = False
        self._reached: list[Cancelled] = []
        self._repeated: list[tuple[Listener, str | None]] = []
        self._tired: list[Handle] = []

    # from tasks:

    def begin(self) -> int | None:
        """A task is being cancelled; None if that is a part of cancelling another one, which waits for it."""
        if self._begun:
            return None
        self._begun = self.made = True
        return len(self._ready)

    def end(self, begun: int | None, number: int, words: object) -> None:
        if begun is not None:
            self._begun = False
            end = len(self._ready)
            if end > begun:
                self._reached.append(Cancelled(number, words_of(words), begun, end))

    def absorb(self, listener: Listener | None, words: str | None) -> None:
        """The task that is being cancelled goes on waiting; `listener` wants to know if these words are repeated."""
        if self._begun:
            self._absorbed = True
            if listener is not None:
                self._repeated.append((listener, words))

    # from the loop:

    def begin_turn(self) -> None:
        """Called when a turn begins after one with cancellations."""
        self._clear()
        self.times.clear()
        self.held += self._tired
        self._tired.clear()

    def settle(self, callback: Callable[..., object], args: tuple[Any, ...], waits: Waits) -> None:
        """Called after a callback that cancelled tasks."""
        reached, ready = self._reached, self._ready
        if len(reached) > 1:
            _order(reached, ready)
        if ready and _is_again(ready[-1], callback, args):
            for listener, words in self._repeated:
                listener.will_be_repeated(words)
            times = self.times[callback] = self.times.get(callback, 0) + 1
            if self._absorbed and not reached:
                self.held.append(ready.pop())
            elif times >= PATIENCE and waits.is_waiting():
                self._tired.append(ready.pop())
        self._clear()

    def _clear(self) -> None:
        self.made = self._absorbed = False
        self._reached.clear()
        self._repeated.clear()

    def release(self) -> int:
        """Make ready again what is held; the answer is how many."""
        released = len(self.held)
        self._ready.extend(self.held)
        self.held.clear()
        return released


def _is_again(handle: Handle, callback: Callable[..., object], args: tuple[Any, ...]) -> bool:
    """Tell by identity alone: nobody's `__eq__` is asked."""
    again = handle.callback
    if isinstance(callback, MethodType):
        is_same = (
            isinstance(again, MethodType)
            and again.__self__ is callback.__self__
            and again.__func__ is callback.__func__
        )
    else:
        is_same = isinstance(callback, FunctionType) and again is callback
    return is_same and len(handle.args) == len(args) and all(a is b for a, b in zip(handle.args, args, strict=True))


def _order(reached: list[Cancelled], ready: deque[Handle]) -> None:
    """Put what the cancellations made ready into the order of the tasks, within the places that it has."""
    alike: dict[str, list[Cancelled]] = {}
    for one in reached:
        if one.words is not None:
            alike.setdefault(one.words, []).append(one)
    for same in alike.values():
        if len(same) > 1:
            woken = [[ready[at] for at in range(one.start, one.end)] for one in sorted(same)]
            places = (at for one in same for at in range(one.start, one.end))
            for at, handle in zip(places, (handle for part in woken for handle in part), strict=True):
                ready[at] = handle
