"""Connections to one server, lent one at a time to whoever asks.

Laws of this file:
- A connection on which a call was cut short (cancelled, out of time, server lost), or refused within a transaction, is
  closed and never lent again.
- One that breaks takes the idle ones with it: they were cut off by the same restart, and the next call connects anew.
- No background work: whether the server is there again is found out by asking it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection, AsyncRawCursor
from psycopg.pq import TransactionStatus

from holdfast.adapters.postgres.arrays import Packed, teach
from holdfast.adapters.postgres.direct import Direct
from holdfast.adapters.postgres.errors import in_words_of_the_port
from holdfast.adapters.postgres.statements import Statement, statement
from holdfast.adapters.postgres.urls import read_url
from holdfast.ports.unavailable import Unavailable

# It warns of whatever it meets while it closes what is broken. Who wants to read that configures logging.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

ANSWERING = 30.0


class Connection:
    """One connection with its cursor; in autocommit, so every statement is a transaction."""

    def __init__(self, link: AsyncConnection) -> None:
        self.link = link
        self._cursor = AsyncRawCursor(link)
        self._direct = Direct(link)

    @property
    def sound(self) -> bool:
        return not self.link.closed and self.link.info.transaction_status == TransactionStatus.IDLE

    async def run(self, asked: Statement, values: Mapping[str, Any] | None = None) -> list[Any]:
        """Run a statement, and give its rows."""
        await self.run_ordered(asked.sql, asked.ordered(values or {}))
        return await self._cursor.fetchall() if _has_rows(self._cursor) else []

    async def run_packed(self, asked: Statement, values: Mapping[str, Packed]) -> list[Any]:
        """Run a statement whose parameters are all packed, and give its rows."""
        return await self._direct.run(asked.sql, asked.ordered(values))

    async def run_ordered(self, sql: bytes, values: Sequence[Any]) -> None:
        await self._cursor.execute(sql, values, prepare=True, binary=True)

    async def ask_at_once(self, values: Mapping[str, Any], *names: str) -> list[list[Any]]:
        """Ask several questions about one state of the database, in one round trip."""
        asked = ((statement(name), values) for name in ("begin_snapshot", *names, "end_transaction"))
        return (await self.run_at_once(*asked))[1:-1]

    async def run_at_once(self, *asked: tuple[Statement, Mapping[str, Any]]) -> list[list[Any]]:
        """Run statements one after the other, in one round trip, and give the rows of each."""
        async with self.link.pipeline():
            cursors = [AsyncRawCursor(self.link) for _ in asked]
            for cursor, (one, values) in zip(cursors, asked, strict=True):
                await cursor.execute(one.sql, one.ordered(values), prepare=True, binary=True)
        return [await cursor.fetchall() if _has_rows(cursor) else [] for cursor in cursors]


class Connections:
    """At most `most` connections to `url`, in the schema `namespace`."""

    def __init__(self, url: str, namespace: str, most: int) -> None:
        self.namespace = namespace
        self.where, self._url = read_url(url, "holdfast")
        self._most = most
        self._room = asyncio.Semaphore(most)
        self._idle: list[Connection] = []
        self._opened = False

    def open(self) -> None:
        """Begin to lend."""
        self._opened = True

    async def close(self) -> None:
        """End; what is lent comes back first."""
        self._opened = False
        for _ in range(self._most):
            await self._room.acquire()
        await self._close_idle()
        for _ in range(self._most):
            self._room.release()

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Connection]:
        """Lend a connection; errors come out in the words of the port."""
        try:
            async with self._room, asyncio.timeout(ANSWERING):
                if not self._opened:
                    raise Unavailable(f"{self.where}: this store is closed")
                async with self._lent() as connection:
                    yield connection
        except Exception as error:
            told = in_words_of_the_port(self.where, error)
            if told is error:
                raise
            raise told from error

    @asynccontextmanager
    async def apart(self) -> AsyncIterator[Connection]:
        """Lend a connection of its own, whether open or not, for as long as it takes."""
        try:
            connection = await self._connect()
            try:
                yield connection
            finally:
                await connection.link.close()
        except Exception as error:
            told = in_words_of_the_port(self.where, error)
            if told is error:
                raise
            raise told from error

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[Connection]:
        connection = self._idle.pop() if self._idle else await self._connect()
        finished = False
        try:
            yield connection
            finished = True
        except Exception:
            finished = True  # refused data leaves a connection as it was; what cuts a call short is no Exception
            raise
        finally:
            if finished and connection.sound:
                self._idle.append(connection)
            else:
                if connection.link.closed:
                    await self._close_idle()
                await connection.link.close()

    async def _connect(self) -> Connection:
        link = await AsyncConnection.connect(self._url, autocommit=True)
        try:
            link.prepared_max = 200
            teach(link)
            connection = Connection(link)
            await connection.run(statement("begin_session"), {"namespace": self.namespace})
        except BaseException:
            await link.close()
            raise
        return connection

    async def _close_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.link.close()


def _has_rows(cursor: AsyncRawCursor) -> bool:
    """Tell whether a statement gives rows at all; `description` would make an object of each column."""
    return cursor.pgresult is not None and cursor.pgresult.nfields > 0
