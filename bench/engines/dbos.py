"""DBOS on PostgreSQL and on SQLite.

DBOS is a library: its engine lives in the application's process. The application under load is `bench.apps.dbos_app`,
in a process of its own, asked over `bench.apps.wire`. Workflows are started directly: a queue would add a poll.
"""

import asyncio
import os
import sqlite3
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import psycopg

from bench import processes
from bench.apps.wire import Caller
from bench.engines import WrongResultError, expected
from bench.launch import PythonApp
from bench.servers import Servers

_COUNT = "SELECT count(*) FROM {table} WHERE workflow_uuid = {parameter}"


class _Dbos:
    name = "dbos"
    mode = ""
    applications = 1
    pool = 8
    """Connections and executor threads of one application: on few cores, 8 measured faster than the default of 20."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self._apps: list[PythonApp] = []
        self._callers: list[Caller] = []

    async def _launch(self, database: str) -> None:
        for number in range(self.applications):
            port = processes.free_port()
            app = PythonApp(
                "bench.apps.dbos_app",
                (str(port), database, str(self.pool), f"executor-{number}"),
                port=port,
                log=self.workspace / f"app-{number}.log",
            )
            self._apps.append(app)
            await app.start()
            self._callers.append(await Caller.connect(port))

    async def run_one(self, n: int) -> None:
        result = await min(self._callers, key=lambda caller: caller.busy).ask(n)
        if result != expected(n):
            raise WrongResultError(n, result)

    def processes(self) -> Mapping[str, int]:
        return {f"app-{number}": app.pid for number, app in enumerate(self._apps)}

    def facts(self) -> Mapping[str, str]:
        return {"dbos": version("dbos"), "applications": str(self.applications), "pool": str(self.pool)}

    async def stop(self) -> None:
        for caller in self._callers:
            await caller.close()
        for app in self._apps:
            await app.stop()


class OnPostgres(_Dbos):
    """The production way: the system database is PostgreSQL, one application process for each core."""

    mode = "postgres"
    applications = min(8, os.cpu_count() or 1)

    def __init__(self, workspace: Path) -> None:
        super().__init__(workspace)
        self._servers = Servers(workspace / "servers", "postgres")
        self._url = ""

    async def start(self) -> None:
        await self._servers.start()
        self._url = await self._servers.new_database("bench_dbos")
        await self._launch(self._url)

    async def steps_stored(self, n: int) -> int:
        query = _COUNT.format(table="dbos.operation_outputs", parameter="%s")
        async with await psycopg.AsyncConnection.connect(self._url) as connection:
            row = await (await connection.execute(query, (f"bench-{n}",))).fetchone()
        return int(row[0]) if row else 0

    def processes(self) -> Mapping[str, int]:
        return {**super().processes(), **self._servers.processes()}

    def facts(self) -> Mapping[str, str]:
        return {**super().facts(), **self._servers.facts()}

    async def stop(self) -> None:
        await super().stop()
        await self._servers.stop()


class OnSqlite(_Dbos):
    """The default of DBOS: one file, put into WAL mode before DBOS opens it (faster); synchronous stays FULL."""

    mode = "sqlite"

    @property
    def _file(self) -> Path:
        return self.workspace / "dbos.sqlite"

    async def start(self) -> None:
        with sqlite3.connect(self._file) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        await self._launch(f"sqlite:///{self._file}")

    async def steps_stored(self, n: int) -> int:
        return await asyncio.to_thread(self._count, n)

    def _count(self, n: int) -> int:
        with sqlite3.connect(self._file) as connection:
            query = _COUNT.format(table="operation_outputs", parameter="?")
            return int(connection.execute(query, (f"bench-{n}",)).fetchone()[0])

    def facts(self) -> Mapping[str, str]:
        with sqlite3.connect(self._file) as connection:
            (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
        return {**super().facts(), "sqlite": sqlite3.sqlite_version, "journal_mode": str(journal)}
