"""Restate: its server from npm, and a Python service behind it.

- The server is one node with all roles, durable as it comes: the write-ahead log of its log server is fsynced.
  Telemetry is off, everything is bound to 127.0.0.1.
- The service runs in hypercorn over HTTP/2 (the journal is streamed both ways), one worker process for each core.
- The client calls the handler through the ingress over kept-alive connections and waits for its answer.
"""

import asyncio
import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import aiohttp

from bench import processes
from bench.engines import WrongResultError, expected
from bench.launch import ROOT, PythonApp

VERSION = "1.7.12"
_HOME = ROOT / "build" / "bench" / "restate"
_PARTITIONS = 4
_SETTLING = 60.0


class Restate:
    """A single-node Restate server and its service."""

    name = "restate"
    mode = "server"

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._log = workspace / "server.log"
        self._server: asyncio.subprocess.Process | None = None
        self._service: PythonApp | None = None
        self._client: aiohttp.ClientSession | None = None
        self._workers = min(4, os.cpu_count() or 1)
        self._ingress = self._admin = ""
        self._invocations: dict[int, str] = {}

    async def start(self) -> None:
        binary = await install()
        ports = {name: processes.free_port() for name in ("node", "ingress", "admin", "service")}
        self._ingress, self._admin = (f"http://127.0.0.1:{ports[name]}" for name in ("ingress", "admin"))
        self._server = await processes.spawn(
            (binary, "--no-logo"), log=self._log, environment=self._settings(ports), cwd=self._workspace
        )
        self._service = PythonApp(
            "bench.apps.restate_app",
            (str(ports["service"]), str(self._workers)),
            port=ports["service"],
            log=self._workspace / "service.log",
        )
        await self._service.start()
        await processes.listening(ports["admin"], self._server, log=self._log)
        self._client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=600))
        await self._register(f"http://127.0.0.1:{ports['service']}")
        await self._first_answer()

    def _settings(self, ports: Mapping[str, int]) -> dict[str, str]:
        return {
            "DO_NOT_TRACK": "1",
            "RESTATE_DISABLE_TELEMETRY": "true",
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_BASE_DIR": str(self._workspace / "data"),
            "RESTATE_NODE_NAME": "bench",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{ports['node']}",
            "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{ports['node']}",
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ports['ingress']}",
            "RESTATE_INGRESS__ADVERTISED_ADDRESS": self._ingress,
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{ports['admin']}",
            "RESTATE_ADMIN__ADVERTISED_ADDRESS": self._admin,
            "RESTATE_ADMIN__DISABLE_WEB_UI": "true",
            # 24 partitions by default, made for a cluster; on few cores, fewer share one fsync among more runs.
            "RESTATE_DEFAULT_NUM_PARTITIONS": str(_PARTITIONS),
            "RESTATE_LOG_FILTER": "warn",
            "RESTATE_LOG_DISABLE_ANSI_CODES": "true",
        }

    async def _register(self, uri: str) -> None:
        deadline = asyncio.get_running_loop().time() + _SETTLING
        while True:
            try:
                async with self._session.post(f"{self._admin}/deployments", json={"uri": uri}) as answer:
                    if answer.ok:
                        return
                    said = await answer.text()
            except aiohttp.ClientError as error:
                said = str(error)
            if asyncio.get_running_loop().time() > deadline:
                raise RuntimeError(f"Restate does not take the service: {said}\n{processes.tail(self._log)}")
            await asyncio.sleep(0.2)

    async def _first_answer(self) -> None:
        deadline = asyncio.get_running_loop().time() + _SETTLING
        while True:
            try:
                await self.run_one(0)
            except aiohttp.ClientError:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.2)
            else:
                return

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._client is None:
            raise RuntimeError("Restate has not been started")
        return self._client

    async def run_one(self, n: int) -> None:
        async with self._session.post(f"{self._ingress}/Bench/three_steps", json=n) as answer:
            answer.raise_for_status()
            result = json.loads(await answer.read())
            self._invocations[n] = answer.headers["x-restate-id"]
        if result != expected(n):
            raise WrongResultError(n, result)

    async def steps_stored(self, n: int) -> int:
        """Count the run results in the journal: one is written after each step, before the next step's command."""
        query = f"SELECT entry_type, name FROM sys_journal WHERE id = '{self._invocations[n]}'"
        async with self._session.post(
            f"{self._admin}/query", json={"query": query}, headers={"accept": "application/json"}
        ) as answer:
            answer.raise_for_status()
            rows = (await answer.json())["rows"]
        return sum(row["entry_type"] == "Notification: Run" for row in rows)

    def processes(self) -> Mapping[str, int]:
        if self._server is None or self._service is None:
            raise RuntimeError("Restate has not been started")
        return {"restate-server": self._server.pid, "service": self._service.pid}

    def facts(self) -> Mapping[str, str]:
        return {
            "restate-server": VERSION,
            "restate-sdk": version("restate-sdk"),
            "hypercorn": version("hypercorn"),
            "hypercorn.workers": str(self._workers),
            "partitions": str(_PARTITIONS),
        }

    async def stop(self) -> None:
        if self._client is not None:
            await self._client.close()
        if self._service is not None:
            await self._service.stop()
        await processes.end(self._server)


async def install() -> Path:
    """Give the server's own binary, fetched from npm once; no install scripts: the one there is reports downloads."""
    _HOME.mkdir(parents=True, exist_ok=True)
    log = _HOME / "npm.log"
    if not list(_HOME.glob(f"node_modules/.holdfast-{VERSION}")):
        npm = await processes.spawn(
            ("npm", "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", _HOME,
             f"@restatedev/restate-server@{VERSION}"),
            log=log, environment={"DO_NOT_TRACK": "1", "SCARF_ANALYTICS": "false"}, cwd=_HOME,
        )  # fmt: skip
        if await npm.wait():
            raise RuntimeError(f"npm could not install the Restate server:\n{processes.tail(log)}")
        (_HOME / "node_modules" / f".holdfast-{VERSION}").touch()
    found = sorted(_HOME.glob("node_modules/@restatedev/restate-server-*/bin/restate-server"))
    if not found:
        raise RuntimeError(f"npm has no Restate server for this machine:\n{processes.tail(log)}")
    return found[0]
