"""Deferred inputs in PostgreSQL, in the store's schema: every method is one transaction."""

from collections.abc import Collection, Sequence
from typing import Any

from holdfast.adapters.postgres.arrays import binaries, numbers, texts
from holdfast.adapters.postgres.statements import statement
from holdfast.adapters.postgres.store import PostgresStore
from holdfast.ports.deferred import DeferredInput, WaitingRun


class PostgresDeferredInputs:
    """Fulfils `ports.deferred.DeferredInputs`, over the connections of `store`, which it opens and closes."""

    def __init__(self, store: PostgresStore) -> None:
        self._connections = store.questions

    async def keep(self, inputs: Sequence[DeferredInput]) -> None:
        if inputs:
            await self._ask(
                "keep_deferred",
                shards=numbers(one.shard for one in inputs),
                run_ids=texts(one.run_id for one in inputs),
                identities=texts(one.identity for one in inputs),
                data=binaries(one.data for one in inputs),
                reasons=texts(one.reason.replace("\0", "") for one in inputs),
                releases=texts(one.release for one in inputs),
            )

    async def waiting(self, limit: int, *, shards: Collection[int] | None = None) -> Sequence[WaitingRun]:
        rows = [WaitingRun(*row) for row in await self._ask("waiting_runs")]
        return [row for row in rows if shards is None or row.shard in shards][:limit]

    async def read(self, shard: int, run_id: str, limit: int) -> Sequence[DeferredInput]:
        return [DeferredInput(*row) for row in await self._ask("read_deferred", shard=shard, run_id=run_id, most=limit)]

    async def forget(self, places: Collection[int]) -> None:
        if places:
            await self._ask("forget_deferred", places=numbers(places))

    async def _ask(self, name: str, **values: Any) -> list[Any]:
        async with self._connections.lend() as connection:
            return await connection.run(statement(name), values)
