"""Trying again for ever: backoff with full jitter.

Source: "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): the wait is drawn from [0, bound].
"""

import asyncio

from holdfast.app.randomness import generator


class Backoff:
    """Gives 0, 1, 2, … at once, then after ever longer waits (seconds).

    No generator: most loops leave it after the first number, and the event loop would start a task to close each.
    """

    __slots__ = ("_bound", "_maximum", "_number")

    def __init__(self, first: float, maximum: float) -> None:
        self._number = -1
        self._bound = first
        self._maximum = maximum

    def __aiter__(self) -> "Backoff":
        return self

    async def __anext__(self) -> int:
        self._number += 1
        if self._number:
            await asyncio.sleep(self._bound * (0.5 + generator().random() / 2))
            self._bound = min(self._maximum, self._bound * 2)
        return self._number


def backoff(first: float = 0.05, maximum: float = 3.0) -> Backoff:
    """Try at once, and again after waits from `first` up to `maximum` seconds."""
    return Backoff(first, maximum)
