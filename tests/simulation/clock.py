"""The clock of one simulated process: the world's, a little wrong."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.world import World


class ProcessClock:
    """Fulfils `ports.clock.Clock`; `skew` in seconds."""

    def __init__(self, world: "World", skew: float) -> None:
        self._world = world
        self._skew = int(skew * 1_000_000)

    def now(self) -> int:
        return self._world.now() + self._skew

    def monotonic(self) -> float:
        return self._world.loop.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
