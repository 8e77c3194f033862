"""A queue in which runs take turns, so that what one has much of keeps nobody waiting.

Laws of this file:
- What waits under one name leaves in the order in which it came.
- Names take turns, one item each. One that begins to wait stands behind those that wait already.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """Items that wait, by the name of whom they are for."""

    __slots__ = ("_lanes", "_length", "_turns")

    def __init__(self) -> None:
        self._lanes: dict[str, deque[Item]] = {}
        self._turns: deque[str] = deque()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Item]:
        for name in self._turns:
            yield from self._lanes[name]

    def put(self, name: str, item: Item) -> None:
        self._length += 1
        lane = self._lanes.get(name)
        if lane is not None:
            lane.append(item)
            return
        self._lanes[name] = deque((item,))
        self._turns.append(name)

    def take(self) -> Item:
        """Take the next item of whose turn it is; there is one."""
        self._length -= 1
        name = self._turns[0]
        lane = self._lanes[name]
        item = lane.popleft()
        if not lane:
            del self._lanes[name]
            self._turns.popleft()
        elif len(self._turns) > 1:
            self._turns.rotate(-1)
        return item

    def discard(self, drop: Callable[[Item], bool]) -> list[Item]:
        """Take out what `drop` says of; returns it."""
        dropped: list[Item] = []
        for name, lane in list(self._lanes.items()):
            found = [item for item in lane if drop(item)]
            if not found:
                continue
            dropped += found
            if len(found) == len(lane):
                del self._lanes[name]
                self._turns.remove(name)
            else:
                self._lanes[name] = deque(item for item in lane if not drop(item))
        self._length -= len(dropped)
        return dropped
