"""Reading what another release of this installation wrote: its schemas are found in the store.

Laws of this file:
- A process registers its own schemas before it writes with them, and learns at that time what others have registered.
- The store is asked only when a record is met whose schema is not known; what is known costs nothing.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from holdfast.ports.codec import Codec, UnknownSchema
from holdfast.ports.schemas import WriterSchemas

Value = TypeVar("Value")


class SchemaCache:
    """Sees to it that the codec knows the schemas of what it is to read. Without `schemas` it has none to offer."""

    def __init__(self, codec: Codec, schemas: WriterSchemas | None = None) -> None:
        self._codec = codec
        self._schemas = schemas

    async def register(self, release: str) -> None:
        """Register what this process writes with, where that is missing, and learn all else.

        Raises:
            Unavailable: the store is away.
        """
        if self._schemas is None:
            return
        found = await self._schemas.read()
        known = {one.fingerprint for one in found}
        missing = [one for one in self._codec.schemas(release) if one.fingerprint not in known]
        if missing:
            await self._schemas.register(missing)
        self._codec.learn(found)

    async def learn(self) -> None:
        """Learn what has been registered meanwhile.

        Raises:
            Unavailable: the store is away.
        """
        if self._schemas is not None:
            self._codec.learn(await self._schemas.read())

    async def prepare(self, records: Iterable[bytes]) -> None:
        """Learn the schemas of these stored records, if one of them is not known.

        Raises:
            Unavailable: the store is away.
        """
        if not all(map(self._codec.knows, records)):
            await self.learn()

    async def read(self, decode: Callable[[], Value]) -> Value:
        """Decode one record, and once more after learning if its schema is not known.

        Raises:
            Unreadable: and its kinds, as `decode` does.
            Unavailable: the store is away.
        """
        try:
            return decode()
        except UnknownSchema:
            await self.learn()
            return decode()
