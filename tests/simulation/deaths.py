"""The simulated deaths: rows in the truth's memory, and the front that each process has to them."""

from collections.abc import Callable, Sequence

import msgspec

from holdfast.ports.deaths import Death
from holdfast.ports.unavailable import Unavailable
from tests.simulation.wire import Service, Wire


class Obituaries:
    """All deaths."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.now = now
        self.rows: dict[tuple[str, int, str, str], Death] = {}

    def report(self, deaths: Sequence[Death]) -> None:
        for death in deaths:
            self.rows.setdefault(death.place, msgspec.structs.replace(death, at=self.now()))

    def read(self, limit: int, after: Death | None) -> Sequence[Death]:
        return [self.rows[place] for place in sorted(self.rows) if after is None or place > after.place][:limit]

    def forget(self, deaths: Sequence[Death]) -> None:
        for death in deaths:
            self.rows.pop(death.place, None)


class SimulatedDeaths:
    """Fulfils `ports.deaths.Deaths`: one process's front. It is away when its store is."""

    def __init__(self, obituaries: Obituaries, store: Service, wire: Wire) -> None:
        self._obituaries = obituaries
        self._store = store
        self._wire = wire

    async def report(self, deaths: Sequence[Death]) -> None:
        await self._wire.ask(self._store, Unavailable, self._obituaries.report, list(deaths))

    async def read(self, limit: int, after: Death | None = None) -> Sequence[Death]:
        return await self._wire.ask(self._store, Unavailable, self._obituaries.read, limit, after)

    async def forget(self, deaths: Sequence[Death]) -> None:
        await self._wire.ask(self._store, Unavailable, self._obituaries.forget, list(deaths))
