"""Prepared statements sent through libpq itself, for questions whose parameters are all packed arrays.

A cursor of psycopg adapts each parameter, watches its connection twice and keeps a cache of its own: that costs more
than the rows of a small batch. Laws of this file:
- A statement is prepared once for a connection, by its text; its parameters are bytes already, in binary format.
- What the server refuses is raised as psycopg's own exception, so errors are sorted in one place.
- A call that is cut short is cancelled at the server too, and its end awaited; then its owner closes the connection.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

from holdfast.adapters.postgres.arrays import Packed

CANCELLING = 5.0

_GOOD = {ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK}
_PENDING = 1


class Direct:
    """The prepared statements of one connection."""

    def __init__(self, link: AsyncConnection) -> None:
        self._link = link
        self._server = link.pgconn
        self._names: dict[bytes, bytes] = {}

    async def run(self, sql: bytes, values: Sequence[Packed]) -> list[Any]:
        """Run a statement, and give its rows."""
        name = self._names.get(sql) or await self._prepared(sql, values)
        self._server.send_query_prepared(name, [value.data for value in values], _binary(len(values)), Format.BINARY)
        try:
            answer = await self._answer()
        except asyncio.CancelledError:
            await self._cancel()
            raise
        if not answer.ntuples:
            return []
        reader = Transformer(self._link)
        reader.set_pgresult(answer)
        return reader.load_rows(0, answer.ntuples, tuple)

    async def _prepared(self, sql: bytes, values: Sequence[Packed]) -> bytes:
        name = b"holdfast_%d" % len(self._names)
        self._server.send_prepare(name, sql, [value.array_oid for value in values])
        await self._answer()
        self._names[sql] = name
        return name

    async def _cancel(self) -> None:
        with suppress(psycopg.Error, OSError):
            async with asyncio.timeout(CANCELLING):
                await self._link.cancel_safe(timeout=CANCELLING)
                await self._answer()

    async def _answer(self) -> PGresult:
        """Wait for the answer to what was sent, which is one."""
        server, loop = self._server, asyncio.get_running_loop()
        while server.flush() == _PENDING:
            await self._until_ready(loop, writing=True)
            server.consume_input()
        while server.is_busy():
            await self._until_ready(loop, writing=False)
            server.consume_input()
        answer = server.get_result()
        while server.get_result() is not None:
            pass
        if answer is None:
            raise psycopg.OperationalError("the server gave no answer")
        if answer.status not in _GOOD:
            raise psycopg.errors.error_from_result(answer, self._link.info.encoding)
        return answer

    async def _until_ready(self, loop: asyncio.AbstractEventLoop, *, writing: bool) -> None:
        """Wait until something can be read, or also written."""
        ready: asyncio.Future[None] = loop.create_future()
        socket = self._server.socket

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

        loop.add_reader(socket, wake)
        if writing:
            loop.add_writer(socket, wake)
        try:
            await ready
        finally:
            loop.remove_reader(socket)
            if writing:
                loop.remove_writer(socket)


_formats: dict[int, list[Format]] = {}


def _binary(count: int) -> list[Format]:
    return _formats.setdefault(count, [Format.BINARY] * count)
