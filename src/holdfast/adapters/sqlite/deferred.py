"""Deferred inputs in the store's file: every method is one transaction."""

from collections.abc import Collection, Sequence
from itertools import chain

from holdfast.adapters.sqlite.clock import now
from holdfast.adapters.sqlite.statements import statement
from holdfast.adapters.sqlite.store import SqliteStore
from holdfast.ports.deferred import DeferredInput, WaitingRun


class SqliteDeferredInputs:
    """Fulfils `ports.deferred.DeferredInputs`, in the file of `store`, which opens and closes it."""

    def __init__(self, store: SqliteStore) -> None:
        self._file = store.file

    async def keep(self, inputs: Sequence[DeferredInput]) -> None:
        if inputs:
            at = now()
            rows = ((i.shard, i.run_id, i.identity, i.data, i.reason, i.release, at) for i in inputs)
            values = list(chain.from_iterable(rows))
            await self._file.write(lambda connection: statement("keep_deferred").write(connection, values))

    async def waiting(self, limit: int, *, shards: Collection[int] | None = None) -> Sequence[WaitingRun]:
        rows = await self._file.ask(lambda connection: statement("waiting_runs").all(connection))
        return [WaitingRun(*row[:6]) for row in rows if shards is None or row[0] in shards][:limit]

    async def read(self, shard: int, run_id: str, limit: int) -> Sequence[DeferredInput]:
        wanted = {"shard": shard, "run_id": run_id, "most": limit}
        rows = await self._file.ask(lambda connection: statement("read_deferred").all(connection, wanted))
        return [DeferredInput(*row) for row in rows]

    async def forget(self, places: Collection[int]) -> None:
        if places:
            values = list(places)
            await self._file.write(lambda connection: statement("forget_deferred").write(connection, values))
