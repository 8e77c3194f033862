"""Deaths in PostgreSQL, in the store's schema: every method is one transaction."""

from collections.abc import Sequence
from typing import Any

from holdfast.adapters.deaths import BEFORE_ALL, death_of
from holdfast.adapters.postgres.arrays import Packed, numbers, texts
from holdfast.adapters.postgres.statements import statement
from holdfast.adapters.postgres.store import PostgresStore
from holdfast.ports.deaths import Death


class PostgresDeaths:
    """Fulfils `ports.deaths.Deaths`, over the connections of `store`, which it opens and closes."""

    def __init__(self, store: PostgresStore) -> None:
        self._connections = store.questions

    async def report(self, deaths: Sequence[Death]) -> None:
        if deaths:
            await self._ask(
                "report_deaths",
                **_places(deaths),
                shards=numbers(d.shard for d in deaths),
                seqs=numbers(d.seq for d in deaths),
                attempts=numbers(d.attempt for d in deaths),
                reasons=texts(d.reason for d in deaths),
                details=texts(d.detail.replace("\0", "") for d in deaths),
            )

    async def read(self, limit: int, after: Death | None = None) -> Sequence[Death]:
        last = after or BEFORE_ALL
        rows = await self._ask(
            "read_deaths",
            run_id=last.run_id,
            incarnation=last.incarnation,
            step_id=last.step_id,
            process=last.process,
            most=limit,
        )
        return [death_of(row) for row in rows]

    async def forget(self, deaths: Sequence[Death]) -> None:
        if deaths:
            await self._ask("forget_deaths", **_places(deaths))

    async def _ask(self, name: str, **values: Any) -> list[Any]:
        async with self._connections.lend() as connection:
            return await connection.run(statement(name), values)


def _places(deaths: Sequence[Death]) -> dict[str, Packed]:
    return {
        "run_ids": texts(d.run_id for d in deaths),
        "incarnations": numbers(d.incarnation for d in deaths),
        "step_ids": texts(d.step_id for d in deaths),
        "processes": texts(d.process for d in deaths),
    }
