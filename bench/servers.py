"""The servers that engines stand on, from deploy/local: a set of its own for each engine and mode, deleted with it.

So none inherits another's tables, caches or autovacuum, and all have the same settings. PostgreSQL is durable as it
comes, and `facts` says so in the server's own words.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import sql

from bench import processes
from bench.launch import ROOT

_HERE = ROOT / "deploy" / "local"
_SHOWN = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "shared_buffers")


class Servers:
    """Some of kafka, postgres, redis, in one folder."""

    def __init__(self, folder: Path, *names: str) -> None:
        self._folder = folder
        self._names = names
        self._shown: dict[str, str] = {}
        self._started = False

    async def start(self) -> None:
        """Start them; return when all answer."""
        self._started = True
        await self._deploy("up", "--while", str(os.getpid()))
        if "postgres" in self._names:
            async with await psycopg.AsyncConnection.connect(self.postgres()) as connection:
                for name in _SHOWN:
                    row = await (await connection.execute("SELECT current_setting(%s)", (name,))).fetchone()
                    self._shown[f"postgres.{name}"] = str(row[0]) if row else ""

    async def stop(self) -> None:
        """Stop them by their pids and delete their data."""
        if self._started:
            await self._deploy("down", "--wipe")

    async def settings(self) -> dict[str, str]:
        """Give the HOLDFAST_* variables that point to them."""
        lines = (await self._deploy("env")).splitlines()
        pairs = (line.removeprefix("export ").partition("=") for line in lines if line.startswith("export "))
        return {name: value.strip("'\"") for name, _, value in pairs}

    def processes(self) -> Mapping[str, int]:
        """Give the pid of each."""
        return {name: int(entry["process"]["pid"]) for name, entry in self._record().items() if entry["process"]}

    def facts(self) -> Mapping[str, str]:
        """Give the settings that decide about durability, as the server itself reports them."""
        return self._shown

    def kafka(self) -> str:
        """Give Kafka's address."""
        return f"127.0.0.1:{self._record()['kafka']['ports']['port']}"

    def postgres(self, database: str = "holdfast") -> str:
        """Give the URL of a database."""
        return f"postgresql://holdfast@127.0.0.1:{self._record()['postgres']['ports']['port']}/{database}"

    async def new_database(self, name: str) -> str:
        """Make an empty database and give its URL."""
        async with await psycopg.AsyncConnection.connect(self.postgres(), autocommit=True) as connection:
            await connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.postgres(name)

    def _record(self) -> dict[str, dict[str, dict[str, int]]]:
        found: dict[str, dict[str, dict[str, int]]] = json.loads((self._folder / "servers.json").read_text())
        return {name: found[name] for name in self._names}

    async def _deploy(self, command: str, *options: str) -> str:
        log = self._folder.with_suffix(f".{command}.log")
        process = await processes.spawn(
            (sys.executable, _HERE / command, "--dir", self._folder, *options, *self._names), log=log
        )
        if await process.wait():
            raise RuntimeError(f"deploy/local/{command} failed:\n{processes.tail(log)}")
        return await asyncio.to_thread(log.read_text)
