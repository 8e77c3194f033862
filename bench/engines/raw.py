"""The raw limits: what `bench.apps.raw_app` reaches on Kafka and PostgreSQL, and on one SQLite file, with no engine."""

import asyncio
import sqlite3
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import psycopg
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench import processes
from bench.apps import raw_app
from bench.apps.wire import Caller
from bench.engines import WrongResultError, expected
from bench.launch import PythonApp
from bench.servers import Servers

_COUNT = "SELECT count(*) FROM history WHERE type = 'StepCompleted' AND run_id = "


class Cluster:
    """Kafka and PostgreSQL."""

    name = "raw"
    mode = "cluster"

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self._app: PythonApp | None = None
        self._caller: Caller | None = None
        self._servers = Servers(workspace / "servers", "kafka", "postgres")
        self._url = ""

    async def start(self) -> None:
        await self._servers.start()
        self._url = await self._servers.new_database("bench_raw")
        admin = AIOKafkaAdminClient(bootstrap_servers=self._servers.kafka())
        await admin.start()
        try:
            await admin.create_topics([NewTopic(topic, raw_app.PARTITIONS, 1) for topic in raw_app.TOPICS])
        finally:
            await admin.close()
        port = processes.free_port()
        arguments = (str(port), self._url, self._servers.kafka())
        self._app = PythonApp("bench.apps.raw_app", arguments, port=port, log=self.workspace / "app.log")
        await self._app.start()
        self._caller = await Caller.connect(port)

    async def run_one(self, n: int) -> None:
        if self._caller is None:
            raise RuntimeError("the application has not been started")
        result = await self._caller.ask(n)
        if result != expected(n):
            raise WrongResultError(n, result)

    async def steps_stored(self, n: int) -> int:
        async with await psycopg.AsyncConnection.connect(self._url) as connection:
            row = await (await connection.execute(_COUNT + "%s", (f"bench-{n}",))).fetchone()
        return int(row[0]) if row else 0

    def processes(self) -> Mapping[str, int]:
        app = {"app": self._app.pid} if self._app else {}
        return {**app, **self._servers.processes()}

    def facts(self) -> Mapping[str, str]:
        drivers = {name: version(name) for name in ("aiokafka", "psycopg")}
        return {"batch": str(raw_app.BATCH), **drivers, "lanes": str(raw_app.LANES), **self._servers.facts()}

    async def stop(self) -> None:
        if self._caller is not None:
            await self._caller.close()
        if self._app is not None:
            await self._app.stop()
        await self._servers.stop()


class Embedded:
    """One SQLite file in WAL mode, synchronous=FULL; no log beside it; in the load generator's process."""

    name = "raw"
    mode = "embedded"

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self._application = raw_app.Application()

    @property
    def _file(self) -> Path:
        return self.workspace / "raw.sqlite"

    async def start(self) -> None:
        await self._application.open(str(self._file))

    async def run_one(self, n: int) -> None:
        result = await self._application.run(n)
        if result != expected(n):
            raise WrongResultError(n, result)

    async def steps_stored(self, n: int) -> int:
        return await asyncio.to_thread(self._count, n)

    def _count(self, n: int) -> int:
        with sqlite3.connect(self._file) as connection:
            return int(connection.execute(_COUNT + "?", (f"bench-{n}",)).fetchone()[0])

    def facts(self) -> Mapping[str, str]:
        return {"batch": str(raw_app.BATCH), "sqlite": sqlite3.sqlite_version}

    def processes(self) -> Mapping[str, int]:
        return {}

    async def stop(self) -> None:
        await self._application.close()
