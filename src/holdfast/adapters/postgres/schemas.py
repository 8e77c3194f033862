"""Writer schemas in PostgreSQL, in the store's schema: every method is one transaction."""

from collections.abc import Sequence
from typing import Any

from holdfast.adapters.postgres.arrays import binaries, texts
from holdfast.adapters.postgres.statements import statement
from holdfast.adapters.postgres.store import PostgresStore
from holdfast.ports.schemas import WriterSchema


class PostgresSchemas:
    """Fulfils `ports.schemas.WriterSchemas`, over the connections of `store`, which it opens and closes."""

    def __init__(self, store: PostgresStore) -> None:
        self._connections = store.questions

    async def register(self, schemas: Sequence[WriterSchema]) -> None:
        if schemas:
            await self._ask(
                "register_schemas",
                fingerprints=binaries(one.fingerprint for one in schemas),
                names=texts(one.name for one in schemas),
                texts=texts(one.text for one in schemas),
                releases=texts(one.release for one in schemas),
            )

    async def read(self) -> Sequence[WriterSchema]:
        return [WriterSchema(*row) for row in await self._ask("read_schemas")]

    async def _ask(self, name: str, **values: Any) -> list[Any]:
        async with self._connections.lend() as connection:
            return await connection.run(statement(name), values)
