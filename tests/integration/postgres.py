"""A PostgreSQL store under test, and what stands in its way: locks, and cables that are cut."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self

import psycopg

from holdfast.adapters.postgres import PostgresStore
from holdfast.testing.conformance.rows import SHARDS

SOON = 10.0

Link = psycopg.AsyncConnection


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SOON):
        while not await holds():
            await asyncio.sleep(0.01)


async def opened(url: str, namespace: str) -> PostgresStore:
    store = PostgresStore(url, namespace)
    await store.install(SHARDS)
    await store.open()
    return store


async def waits_for_a_lock(link: Link) -> int:
    """Wait until a commit stands before a row that `link` holds; gives the pid of its backend."""
    found: list[int] = []

    async def blocked() -> bool:
        rows = await link.execute(
            "SELECT pid FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
        )
        found.extend(pid for (pid,) in await rows.fetchall())
        return bool(found)

    await until(blocked)
    return found[0]


class CutCable:
    """A cable to the server that can be cut between the server's work and its answer."""

    def __init__(self, host: str, port: int) -> None:
        self.server = (host, port)
        self.cut = False
        self._talking: set[asyncio.Task[None]] = set()
        self._ends: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._listening = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = int(self._listening.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *error: object) -> None:
        self._listening.close()
        for end in self._ends:
            end.close()
        await asyncio.gather(*self._talking)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talking.add(task)
        answers, questions = await asyncio.open_connection(*self.server)
        self._ends += (writer, questions)
        asking = asyncio.create_task(self._pass(reader, questions))
        while (data := await answers.read(65536)) and not self.cut:
            writer.write(data)
        for end in (writer, questions):
            end.close()
            await end.wait_closed()
        await asking

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()
