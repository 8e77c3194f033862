"""DBOS on PostgreSQL and on SQLite.

DBOS is a library: its engine lives in the application's process. On SQLite that is the load generator's; on PostgreSQL
there is an application for each core, `bench.apps.dbos_app`, asked over `bench.apps.wire`. Workflows are started
directly: a queue would add a poll.
"""

import asyncio
import os
import sqlite3
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import psycopg

from bench import processes
from bench.apps import dbos_app
from bench.apps.wire import Caller
from bench.engines import WrongResultError, expected
from bench.launch import PythonApp
from bench.servers import Servers

POOL = 8
"""Connections and executor threads of one application: on few cores, 8 measured faster than the default of 20."""
_COUNT = "SELECT count(*) FROM {table} WHERE workflow_uuid = {parameter}"


class OnPostgres:
    """The production way: the system database is PostgreSQL, one application process for each core."""

    name = "dbos"
    mode = "postgres"
    applications = min(8, os.cpu_count() or 1)

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self._apps: list[PythonApp] = []
        self._callers: list[Caller] = []
        self._servers = Servers(workspace / "servers", "postgres")
        self._url = ""

    async def start(self) -> None:
        await self._servers.start()
        self._url = await self._servers.new_database("bench_dbos")
        for number in range(self.applications):
            port = processes.free_port()
            app = PythonApp(
                "bench.apps.dbos_app",
                (str(port), self._url, str(POOL), f"executor-{number}"),
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

    async def steps_stored(self, n: int) -> int:
        query = _COUNT.format(table="dbos.operation_outputs", parameter="%s")
        async with await psycopg.AsyncConnection.connect(self._url) as connection:
            row = await (await connection.execute(query, (f"bench-{n}",))).fetchone()
        return int(row[0]) if row else 0

    def processes(self) -> Mapping[str, int]:
        apps = {f"app-{number}": app.pid for number, app in enumerate(self._apps)}
        return {**apps, **self._servers.processes()}

    def facts(self) -> Mapping[str, str]:
        return {
            "dbos": version("dbos"),
            "applications": str(self.applications),
            "pool": str(POOL),
            **self._servers.facts(),
        }

    async def stop(self) -> None:
        for caller in self._callers:
            await caller.close()
        for app in self._apps:
            await app.stop()
        await self._servers.stop()


class OnSqlite:
    """The default of DBOS: one file, put into WAL mode before DBOS opens it (faster); synchronous stays FULL."""

    name = "dbos"
    mode = "sqlite"

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace

    @property
    def _file(self) -> Path:
        return self.workspace / "dbos.sqlite"

    async def start(self) -> None:
        with sqlite3.connect(self._file) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        dbos_app.launch(f"sqlite:///{self._file}", POOL, "executor-0")

    async def run_one(self, n: int) -> None:
        result = await dbos_app.run(n)
        if result != expected(n):
            raise WrongResultError(n, result)

    async def steps_stored(self, n: int) -> int:
        return await asyncio.to_thread(self._count, n)

    def _count(self, n: int) -> int:
        with sqlite3.connect(self._file) as connection:
            query = _COUNT.format(table="operation_outputs", parameter="?")
            return int(connection.execute(query, (f"bench-{n}",)).fetchone()[0])

    def processes(self) -> Mapping[str, int]:
        return {}

    def facts(self) -> Mapping[str, str]:
        with sqlite3.connect(self._file) as connection:
            (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
        return {
            "dbos": version("dbos"),
            "pool": str(POOL),
            "sqlite": sqlite3.sqlite_version,
            "journal_mode": str(journal),
        }

    async def stop(self) -> None:
        dbos_app.shut_down()
