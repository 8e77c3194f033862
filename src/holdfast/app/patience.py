"""Trying again for ever: backoff with full jitter.

Source: "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): the wait is drawn from [0, bound].
"""

import asyncio
from collections.abc import AsyncIterator

from holdfast.app.chance import chance


async def tries(first: float = 0.05, maximum: float = 3.0) -> AsyncIterator[int]:
    """Yield 0, 1, 2, … at once, then after ever longer waits (seconds)."""
    number = 0
    bound = first
    while True:
        yield number
        number += 1
        await asyncio.sleep(bound * (0.5 + chance().random() / 2))
        bound = min(maximum, bound * 2)
