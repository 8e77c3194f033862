"""A queue in which runs take turns, so that what one has much of keeps nobody waiting.

Laws of this file:
- What waits under one name leaves in the order in which it came.
- Names take turns, one item each. One that begins to wait stands behind those that wait already.
- A name with one item has no line of its own: most have one, and a deque for each costs more than all the rest.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """Items that wait, by the name of whom they are for."""

    __slots__ = ("_behind", "_length", "_turns")

    def __init__(self) -> None:
        self._turns: deque[tuple[str, Item]] = deque()  # of each name that waits, its first item
        self._behind: dict[str, deque[Item] | None] = {}  # by the same names, what comes after that
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Item]:
        for name, item in self._turns:
            yield item
            yield from self._behind[name] or ()

    def put(self, name: str, item: Item) -> None:
        self._length += 1
        if name not in self._behind:
            self._behind[name] = None
            self._turns.append((name, item))
            return
        behind = self._behind[name]
        if behind is None:
            behind = self._behind[name] = deque()
        behind.append(item)

    def take(self) -> Item:
        """Take the next item of whose turn it is; there is one."""
        self._length -= 1
        name, item = self._turns.popleft()
        behind = self._behind[name]
        if behind:
            self._turns.append((name, behind.popleft()))
        else:
            del self._behind[name]
        return item

    def discard(self, drop: Callable[[Item], bool]) -> list[Item]:
        """Take out what `drop` says of; returns it."""
        dropped: list[Item] = []
        turns, self._turns = self._turns, deque()
        for name, first in turns:
            kept: deque[Item] = deque()
            for item in (first, *(self._behind[name] or ())):
                (dropped if drop(item) else kept).append(item)
            if kept:
                self._turns.append((name, kept.popleft()))
                self._behind[name] = kept
            else:
                del self._behind[name]
        self._length -= len(dropped)
        return dropped
