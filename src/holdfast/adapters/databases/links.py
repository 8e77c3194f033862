"""Connections to an author's PostgreSQL, lent for one transaction each.

Laws of this file:
- The author's object is used once: what he sets on it is forgotten, and if he keeps it, it is closed. The link below it
  is lent again after the server has forgotten its session too.
- A link on which a call was cut short is closed and never lent again; one that was cut while idle is replaced.
- At most `MOST` transactions at a time; others wait.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import PGconn, TransactionStatus
from psycopg.pq.abc import PGconn as Link
from psycopg.rows import TupleRow

from holdfast.adapters.databases.row import LAW
from holdfast.adapters.databases.statements import statement
from holdfast.adapters.postgres.urls import read_url
from holdfast.ports.databases import TransactionEnded, UnknownDatabase

MOST = 8
FORGETTING = 5.0
"""Seconds for rolling back and forgetting a session; then the link is closed instead."""


class Lent(AsyncConnection[TupleRow]):
    """The author's connection; `async with connection.transaction()` inside it is a savepoint."""

    schema: str = ""
    """Where the ledger's table is; empty: nowhere."""

    async def commit(self) -> None:
        raise TransactionEnded(f"connection.commit() in an effect: {LAW}")

    async def rollback(self) -> None:
        raise TransactionEnded(f"connection.rollback() in an effect: {LAW}")

    def __del__(self, *_: Any) -> None:
        """The link is not this object's to close, nor to complain of."""


class Links:
    """At most `MOST` links to one database."""

    def __init__(self, name: str, url: str) -> None:
        try:
            server, self._url = read_url(url, "holdfast effects")
        except ValueError as unreadable:
            raise UnknownDatabase(f"database {name}, its URL in the settings: {unreadable}") from None
        self.where = f"database {name} ({server})"
        self._room = asyncio.Semaphore(MOST)
        self._idle: list[Link] = []
        self._closed = False

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Lent]:
        """Lend a connection in a transaction, which is rolled back in the end unless it was committed."""
        async with self._room:
            lent = await self._begun()
            try:
                yield lent
            finally:
                await self._take_back(lent)

    async def close(self) -> None:
        """Close what is idle; what is lent is closed when it comes back."""
        self._closed = True
        self._close_idle()

    async def _begun(self) -> Lent:
        while self._idle:
            lent = Lent(self._idle.pop())
            try:
                await _begin(lent)
            except psycopg.OperationalError:
                self._close_idle()  # they were cut off by the same restart; nothing was written yet
            else:
                return lent
        lent = await Lent.connect(self._url)
        await _begin(lent)
        return lent

    async def _take_back(self, lent: Lent) -> None:
        link, lent.pgconn = lent.pgconn, _closed_link()
        kept = False
        try:
            with suppress(psycopg.Error, OSError, TimeoutError):
                await _forget(link)
                kept = not self._closed
        finally:
            if kept:
                self._idle.append(link)
            else:
                link.finish()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().finish()


async def _begin(lent: Lent) -> None:
    """Begin a transaction, and find the schema of the ledger's table."""
    try:
        cursor = await lent.execute(statement("postgres", "begin").encode())
        row = await cursor.fetchone()
    except BaseException:
        lent.pgconn.finish()
        raise
    lent.schema = (row and row[0]) or ""


async def _forget(link: Link) -> None:
    """Roll back, and make the server forget the session: settings, locks, temporary tables, prepared statements."""
    if link.transaction_status == TransactionStatus.ACTIVE:
        raise psycopg.OperationalError("a statement is still running")
    last = Lent(link)
    async with asyncio.timeout(FORGETTING):
        await AsyncConnection.rollback(last)
        await last.set_autocommit(True)
        await last.execute("DISCARD ALL")


@cache
def _closed_link() -> Link:
    link = PGconn.connect_start(b"port=0")  # refused before anything is tried
    link.finish()
    return link
