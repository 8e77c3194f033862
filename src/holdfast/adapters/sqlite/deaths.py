"""Deaths in the store's file: every method is one transaction."""

from collections.abc import Sequence
from itertools import chain

from holdfast.adapters.deaths import BEFORE_ALL, death_of
from holdfast.adapters.sqlite.clock import now
from holdfast.adapters.sqlite.statements import statement
from holdfast.adapters.sqlite.store import SqliteStore
from holdfast.ports.deaths import Death


class SqliteDeaths:
    """Fulfils `ports.deaths.Deaths`, in the file of `store`, which opens and closes it."""

    def __init__(self, store: SqliteStore) -> None:
        self._file = store.file

    async def report(self, deaths: Sequence[Death]) -> None:
        if deaths:
            at = now()
            rows = ((*d.place, d.shard, d.seq, d.attempt, d.reason, d.detail, at) for d in deaths)
            values = list(chain.from_iterable(rows))
            await self._file.write(lambda connection: statement("report_deaths").write(connection, values))

    async def read(self, limit: int, after: Death | None = None) -> Sequence[Death]:
        last = after or BEFORE_ALL
        wanted = {
            "run_id": last.run_id,
            "incarnation": last.incarnation,
            "step_id": last.step_id,
            "process": last.process,
            "most": limit,
        }
        rows = await self._file.ask(lambda connection: statement("read_deaths").all(connection, wanted))
        return [death_of(row) for row in rows]

    async def forget(self, deaths: Sequence[Death]) -> None:
        if deaths:
            values = list(chain.from_iterable(death.place for death in deaths))
            await self._file.write(lambda connection: statement("forget_deaths").write(connection, values))
