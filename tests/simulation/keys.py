"""The simulated keys: one memory for all processes, which may forget everything or be away.

Law of this file: as ports/keys.py says, whoever asks while it is away is granted every claim and finds no result.
"""

from collections.abc import Mapping, Sequence

from holdfast.adapters.memory import MemoryKeys
from holdfast.ports.clock import Clock
from holdfast.ports.keys import Claimed, Held, Known
from tests.simulation.wire import Wire


class KeyServer:
    """What all processes share."""

    def __init__(self, clock: Clock) -> None:
        self.away = False
        self.failovers = 0
        self.clock = clock
        self.memory = MemoryKeys(clock)

    def forget(self) -> None:
        self.memory = MemoryKeys(self.clock)


class SimulatedKeys:
    """Fulfils `ports.keys.Keys`: one process's front."""

    def __init__(self, server: KeyServer, wire: Wire) -> None:
        self._server = server
        self._wire = wire

    async def open(self, installation: str) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to disconnect from."""

    async def claim(self, keys: Sequence[str], owner: str, ttl: float) -> Sequence[Claimed | Held | Known]:
        await self._way()
        if self._server.away:
            return [Claimed() for _ in keys]
        return await self._server.memory.claim(keys, owner, ttl)

    async def remember(self, results: Mapping[str, bytes], ttl: float) -> None:
        await self._way()
        if not self._server.away:
            await self._server.memory.remember(results, ttl)

    async def release(self, keys: Sequence[str], owner: str) -> None:
        await self._way()
        if not self._server.away:
            await self._server.memory.release(keys, owner)

    async def ping(self) -> bool:
        return not self._server.away

    async def _way(self) -> None:
        await self._wire.ask(self._server, None, _nothing)


def _nothing() -> None:
    """What is asked of the memory needs no way of its own: it never waits."""
