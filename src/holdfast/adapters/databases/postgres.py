"""`transaction` effects in PostgreSQL.

Laws of this file:
- The effect's row is inserted before its function has the connection. Another attempt's insert waits for it.
- Nobody but Holdfast can commit: the row refers to nothing until the result is recorded, and the server looks at that
  when it is asked to commit (`sql/postgres/install.sql`).
- Only a COMMIT that was not answered is unclear. All that goes wrong before it has written nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg import AsyncCursor
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from holdfast.adapters.databases.links import Lent, Links
from holdfast.adapters.databases.row import ended, not_installed, recorded
from holdfast.adapters.databases.statements import statement
from holdfast.adapters.postgres.errors import in_words_of_the_port
from holdfast.ports.databases import CommitUnclear, TransactionEnded, UnknownDatabase
from holdfast.ports.installation import NotInstalled
from holdfast.ports.unavailable import Unavailable

ANSWERING = 30.0
"""Seconds for recording and committing: nobody else's row is waited for there."""
_SEAL = "committed_by_holdfast_alone"
_NO_PERMISSION = "42501"


class PostgresTransaction:
    """Fulfils `ports.databases.Transaction`."""

    def __init__(self, connection: Lent, effect_id: str, where: str) -> None:
        self.connection = connection
        self.recorded: bytes | None = None
        self._effect_id = effect_id
        self._where = where
        self._schema = connection.schema

    async def take_row(self, request_hash: bytes) -> None:
        """Insert the effect's row, or read it."""
        asked = {"effect_id": self._effect_id, "request_hash": request_hash}
        if (await self._ask("insert", asked)).rowcount == 0:
            row = await (await self._ask("read", asked)).fetchone()
            if row is None:
                raise Unavailable(f"{self._where}: the row of effect {self._effect_id} was deleted this very moment")
            self.recorded = recorded(row, request_hash, self._where, self._effect_id)

    async def commit(self, result: bytes) -> None:
        self._check()
        with in_words(self._where):
            async with asyncio.timeout(ANSWERING):
                recording = await self._ask("record", {"effect_id": self._effect_id, "result": result})
        if recording.rowcount != 1:
            raise ended()
        await self._commit()

    async def _commit(self) -> None:
        cursor = AsyncCursor(self.connection)
        try:
            async with asyncio.timeout(ANSWERING):
                await cursor.execute("COMMIT")
        except (psycopg.Error, OSError) as error:  # TimeoutError is an OSError
            if isinstance(error, psycopg.Error) and not self.connection.closed:
                raise  # the server's definite no, such as a deferred constraint of the author's
            raise CommitUnclear(
                f"{self._where} did not answer to COMMIT: {str(error) or 'the time is over'}"
            ) from error
        if cursor.statusmessage != "COMMIT":
            raise self._spoilt()

    def _check(self) -> None:
        if self.connection.closed:
            raise Unavailable(f"{self._where}: the effect's connection was lost or closed; nothing is recorded")
        if self.connection.info.transaction_status == TransactionStatus.INERROR:
            raise self._spoilt()

    def _spoilt(self) -> TransactionEnded:
        return TransactionEnded(
            f"{self._where}: a statement of the effect failed and the effect went on, but PostgreSQL has given its "
            "transaction up: let the error out, or put the statement into `async with connection.transaction():`"
        )

    async def _ask(self, name: str, values: dict[str, Any]) -> AsyncCursor[Any]:
        """Run a statement of ours, whatever the author has set on his connection."""
        cursor = AsyncCursor(self.connection, row_factory=tuple_row)
        text = statement("postgres", name).replace("{schema}", self._schema)
        await cursor.execute(text.encode(), values)
        return cursor


class PostgresTarget:
    """Fulfils `adapters.databases.named.Target`."""

    def __init__(self, name: str, url: str) -> None:
        self._name = name
        self._links = Links(name, url)
        self._where = self._links.where

    @asynccontextmanager
    async def transaction(self, effect_id: str, request_hash: bytes) -> AsyncIterator[PostgresTransaction]:
        async with AsyncExitStack() as stack:
            with in_words(self._where):
                connection = await stack.enter_async_context(self._links.lend())
                if not connection.schema:
                    raise UnknownDatabase(not_installed(self._name, self._where))
                transaction = PostgresTransaction(connection, effect_id, self._where)
                await transaction.take_row(request_hash)
            try:
                yield transaction
            except psycopg.errors.ForeignKeyViolation as error:
                if error.diag.constraint_name == _SEAL:
                    raise ended() from error
                raise

    async def pending(self) -> list[str]:
        with in_words(self._where):
            async with self._links.lend() as connection:
                return [] if connection.schema else [f"table holdfast_effects in {self._where}"]

    async def install(self) -> list[str]:
        with in_words(self._where):
            async with self._links.lend() as connection:
                if connection.schema:
                    return []
                await connection.execute(statement("postgres", "lock").encode())
                found = await connection.execute(statement("postgres", "find").encode())
                if await found.fetchone() == (True,):
                    return []
                await connection.execute(statement("postgres", "install").encode())
                await connection.execute("COMMIT")
        return [f"table holdfast_effects in {self._where}"]

    async def close(self) -> None:
        await self._links.close()


@contextmanager
def in_words(where: str) -> Iterator[None]:
    """Tell what goes wrong with statements of ours in the words of the port."""
    try:
        yield
    except (psycopg.Error, OSError) as error:
        told = in_words_of_the_port(where, error)
        state = error.sqlstate if isinstance(error, psycopg.Error) else None
        if state == _NO_PERMISSION:
            told = UnknownDatabase(
                f"{where} does not let this role do so ({' '.join(str(error).split())}): it needs CREATE on the schema "
                "for holdfast ledger install, and SELECT, INSERT, UPDATE on holdfast_effects for effects"
            )
        elif isinstance(told, NotInstalled):
            text = " ".join(str(error).split())
            told = UnknownDatabase(f"{where}: its search path or its table holdfast_effects is not as needed ({text})")
        raise told from error
