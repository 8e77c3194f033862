"""The simulated deferred inputs: rows in the truth's memory, and the front that each process has to them."""

from collections.abc import Callable, Collection, Sequence
from itertools import count

import msgspec

from holdfast.ports.deferred import DeferredInput, WaitingRun
from holdfast.ports.unavailable import Unavailable
from tests.simulation.wire import Service, Wire


class DeferredRows:
    """All deferred inputs."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.now = now
        self.rows: dict[tuple[int, str, str], DeferredInput] = {}
        self._places = count(1)

    def keep(self, inputs: Sequence[DeferredInput]) -> None:
        for one in inputs:
            key = (one.shard, one.run_id, one.identity)
            if key not in self.rows:
                self.rows[key] = msgspec.structs.replace(one, place=next(self._places), at=self.now())

    def waiting(self, limit: int, shards: Collection[int] | None) -> Sequence[WaitingRun]:
        found: dict[tuple[int, str], list[DeferredInput]] = {}
        for (shard, run_id, _), one in self.rows.items():
            if shards is None or shard in shards:
                found.setdefault((shard, run_id), []).append(one)
        runs = sorted(found.items(), key=lambda one: one[1][0].place)
        return [WaitingRun(*key, len(of), of[0].reason, of[0].release, of[0].at) for key, of in runs][:limit]

    def read(self, shard: int, run_id: str, limit: int) -> Sequence[DeferredInput]:
        return [one for one in self.rows.values() if (one.shard, one.run_id) == (shard, run_id)][:limit]

    def forget(self, places: Collection[int]) -> None:
        self.rows = {key: one for key, one in self.rows.items() if one.place not in places}


class SimulatedDeferredInputs:
    """Fulfils `ports.deferred.DeferredInputs`: one process's front. It is away when its store is."""

    def __init__(self, rows: DeferredRows, store: Service, wire: Wire) -> None:
        self._rows = rows
        self._store = store
        self._wire = wire

    async def keep(self, inputs: Sequence[DeferredInput]) -> None:
        await self._wire.ask(self._store, Unavailable, self._rows.keep, list(inputs))

    async def waiting(self, limit: int, *, shards: Collection[int] | None = None) -> Sequence[WaitingRun]:
        wanted = None if shards is None else frozenset(shards)
        return await self._wire.ask(self._store, Unavailable, self._rows.waiting, limit, wanted)

    async def read(self, shard: int, run_id: str, limit: int) -> Sequence[DeferredInput]:
        return await self._wire.ask(self._store, Unavailable, self._rows.read, shard, run_id, limit)

    async def forget(self, places: Collection[int]) -> None:
        await self._wire.ask(self._store, Unavailable, self._rows.forget, frozenset(places))
