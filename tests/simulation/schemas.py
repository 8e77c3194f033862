"""The simulated writer schemas: rows in the truth's memory, and the front that each process has to them."""

from collections.abc import Sequence

from holdfast.ports.schemas import WriterSchema
from holdfast.ports.unavailable import Unavailable
from tests.simulation.wire import Service, Wire


class SchemaRows:
    """All writer schemas."""

    def __init__(self) -> None:
        self.rows: dict[bytes, WriterSchema] = {}

    def register(self, schemas: Sequence[WriterSchema]) -> None:
        for one in schemas:
            self.rows.setdefault(one.fingerprint, one)

    def read(self) -> Sequence[WriterSchema]:
        return sorted(self.rows.values(), key=lambda one: (one.name, one.fingerprint))


class SimulatedSchemas:
    """Fulfils `ports.schemas.WriterSchemas`: one process's front. It is away when its store is."""

    def __init__(self, rows: SchemaRows, store: Service, wire: Wire) -> None:
        self._rows = rows
        self._store = store
        self._wire = wire

    async def register(self, schemas: Sequence[WriterSchema]) -> None:
        await self._wire.ask(self._store, Unavailable, self._rows.register, list(schemas))

    async def read(self) -> Sequence[WriterSchema]:
        return await self._wire.ask(self._store, Unavailable, self._rows.read)
