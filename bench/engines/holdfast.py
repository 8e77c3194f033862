"""Holdfast: orchestrator and worker apart, together in one process, and embedded in one file.

`separate` and `local` stand on Kafka, PostgreSQL and Redis; the load generator holds a Client and waits on the outcomes
topic. `embedded` is a library: it lives in the load generator's process, which is its application.
"""

import asyncio
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import psycopg

from bench import processes
from bench.apps.holdfast_app import three_steps
from bench.engines import WrongResultError, expected
from bench.launch import PythonApp
from bench.servers import Servers
from holdfast import Client
from holdfast.profiles import install
from holdfast.profiles.engine import Engine
from holdfast.profiles.services import serve
from holdfast.sdk.definitions import Workflow
from holdfast.settings import Settings, load

_READY = 15.0
_COUNT = "SELECT count(*) FROM {schema}.history WHERE run_id = %s AND type = 'StepCompleted'"
_COUNT_EMBEDDED = """
SELECT count(*) FROM history JOIN runs ON runs.place = history.run WHERE run_id = ? AND type = 'StepCompleted'
"""
_COUNT_EFFECTS = "SELECT count(*) FROM {schema}.effects WHERE run_id = %s AND state = 'SUCCEEDED'"
_COUNT_EFFECTS_EMBEDDED = "SELECT count(*) FROM effects WHERE run_id = ? AND state = 'SUCCEEDED'"


class _Cluster:
    name = "holdfast"
    mode = ""
    roles: tuple[str, ...] = ()
    shards = 4
    """Fewer than the default of 64, for two cores: every fetch names every partition. Restate has as many here."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self._servers = Servers(workspace / "servers", "kafka", "postgres", "redis")
        self._apps: dict[str, PythonApp] = {}
        self._client: Client | None = None
        self._settings = Settings()

    async def start(self) -> None:
        await self._servers.start()
        variables = {**await self._servers.settings(), "HOLDFAST_SHARDS": str(self.shards)}
        self._settings = load({}, variables)
        await install(self._settings)
        for role in self.roles:
            port = processes.free_port()
            app = PythonApp(
                "bench.apps.holdfast_app",
                (role, str(port)),
                port=port,
                log=self.workspace / f"{role}.log",
                environment={**os.environ, **variables},
            )
            self._apps[role] = app
            await app.start()
        self._client = await Client(self._settings).__aenter__()
        async with asyncio.timeout(_READY):
            await self.run_one(-1_000_000)

    async def run_one(self, n: int) -> None:
        result = await self.run("three_steps", n)
        if result != expected(n):
            raise WrongResultError(n, result)

    async def run(self, workflow: str, n: int) -> object:
        """Run one of the application's workflows on `n`, and give its result."""
        if self._client is None:
            raise RuntimeError("start() comes first")
        return await (await self._client.start(workflow, n, id=f"bench-{n}")).result()

    async def steps_stored(self, n: int) -> int:
        return await self._count(_COUNT, n)

    async def effects_stored(self, n: int) -> int:
        """How many effects of the finished workflow `n` the ledger holds as succeeded."""
        return await self._count(_COUNT_EFFECTS, n)

    async def _count(self, template: str, n: int) -> int:
        query = template.format(schema=self._settings.namespace)
        async with await psycopg.AsyncConnection.connect(self._settings.store) as connection:
            row = await (await connection.execute(query, (f"bench-{n}",))).fetchone()
        return int(row[0]) if row else 0

    def processes(self) -> Mapping[str, int]:
        return {role: app.pid for role, app in self._apps.items()} | dict(self._servers.processes())

    def facts(self) -> Mapping[str, str]:
        return {**self._servers.facts(), "processes": ", ".join(self.roles), "shards": str(self.shards)}

    async def stop(self) -> None:
        if self._client is not None:
            await self._client.__aexit__(None, None, None)
        for app in self._apps.values():
            await app.stop()
        await self._servers.stop()


class Separate(_Cluster):
    """Orchestrator and worker apart: every task and result goes by Kafka."""

    mode = "separate"
    roles = ("orchestrator", "worker")


class Local(_Cluster):
    """One process: tasks are handed over in memory after their commit."""

    mode = "local"
    roles = ("run",)


class Embedded:
    """One process, one file."""

    name = "holdfast"
    mode = "embedded"

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self._stop = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self._client: Client | None = None

    @property
    def _file(self) -> Path:
        return self.workspace / "holdfast.db"

    async def start(self) -> None:
        ready: asyncio.Future[Engine] = asyncio.get_running_loop().create_future()
        settings = load({}, {"HOLDFAST_STORE": f"sqlite:///{self._file}"})
        self._serving = asyncio.create_task(
            serve(settings, orchestrator=True, worker=True, stop=self._stop, on_ready=ready.set_result)
        )
        await asyncio.wait((self._serving, ready), return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            await self._serving
        self._client = await Client(engine=ready.result()).__aenter__()

    async def run_one(self, n: int) -> None:
        result = await self.run(three_steps, n)
        if result != expected(n):
            raise WrongResultError(n, result)

    async def run(self, workflow: Workflow[[int], int] | str, n: int) -> object:
        """Run one of the application's workflows on `n`, and give its result."""
        if self._client is None:
            raise RuntimeError("start() comes first")
        return await (await self._client.start(workflow, n, id=f"bench-{n}")).result()

    async def steps_stored(self, n: int) -> int:
        return await asyncio.to_thread(self._count, _COUNT_EMBEDDED, n)

    async def effects_stored(self, n: int) -> int:
        """How many effects of the finished workflow `n` the ledger holds as succeeded."""
        return await asyncio.to_thread(self._count, _COUNT_EFFECTS_EMBEDDED, n)

    def _count(self, query: str, n: int) -> int:
        with sqlite3.connect(self._file) as connection:
            return int(connection.execute(query, (f"bench-{n}",)).fetchone()[0])

    def processes(self) -> Mapping[str, int]:
        return {}

    def facts(self) -> Mapping[str, str]:
        with sqlite3.connect(self._file) as connection:
            (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
        return {"sqlite": sqlite3.sqlite_version, "journal_mode": str(journal), "synchronous": "FULL"}

    async def stop(self) -> None:
        if self._client is not None:
            await self._client.__aexit__(None, None, None)
        self._stop.set()
        if self._serving is not None:
            await self._serving
