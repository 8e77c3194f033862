"""Writer schemas in the store's file: every method is one transaction."""

from collections.abc import Sequence
from itertools import chain

from holdfast.adapters.sqlite.statements import statement
from holdfast.adapters.sqlite.store import SqliteStore
from holdfast.ports.schemas import WriterSchema


class SqliteSchemas:
    """Fulfils `ports.schemas.WriterSchemas`, in the file of `store`, which opens and closes it."""

    def __init__(self, store: SqliteStore) -> None:
        self._file = store.file

    async def register(self, schemas: Sequence[WriterSchema]) -> None:
        if schemas:
            values = list(chain.from_iterable((one.fingerprint, one.name, one.text, one.release) for one in schemas))
            await self._file.write(lambda connection: statement("register_schemas").write(connection, values))

    async def read(self) -> Sequence[WriterSchema]:
        rows = await self._file.ask(lambda connection: statement("read_schemas").all(connection))
        return [WriterSchema(*row) for row in rows]
