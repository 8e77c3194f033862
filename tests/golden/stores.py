"""Stores as each schema left them, as SQL text: what migrations are tested on.

One dump for each adapter and schema number, recorded while that schema was the newest: `python -m tests.golden dump`.
"""

import asyncio
import re
import shutil
import sqlite3
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import psycopg

from holdfast.adapters.postgres import PostgresLedger, PostgresStore
from holdfast.adapters.postgres.schema import known as known_to_postgres
from holdfast.adapters.sqlite import EmbeddedLog, SqliteLedger, SqliteStore
from holdfast.adapters.sqlite.schema import known as known_to_sqlite
from holdfast.core.run import PARKED
from holdfast.ports.ledger import Ledger
from holdfast.ports.store import Store
from tests.golden import files
from tests.golden.files import FOLDER
from tests.integration.running import SHARDS, Process, install, signal_of
from tests.servers import Servers

DUMPS = FOLDER / "stores"
NAMESPACE = "golden_dump"
DONE, WAITS, UNCLEAR, EARLY = "done", "waits", "unclear", "early"


def dump_of(adapter: str, number: int) -> Path:
    return DUMPS / f"{adapter}-{number:04}.sql"


@asynccontextmanager
async def engine(store: Store, ledger: Ledger, folder: Path) -> AsyncIterator[Process]:
    """Run an engine on a store; its log is a file of its own."""
    path = folder / "log.db"
    await install(path)
    file = SqliteStore(path)
    await file.open()
    log = EmbeddedLog(file)
    await log.open()
    running = Process(store, ledger, log, f"p-{uuid.uuid4()}")
    running.codec.learn(files.schemas())  # code between two releases wrote the dumps, and no release knows its schemas
    try:
        await running.begin()
        yield running
        running.check()
    finally:
        await running.crash()
        await file.close()


async def fill(running: Process) -> None:
    """Leave one run of each kind: ended, waiting, parked, and a signal of one that has not begun."""
    await running.start("golden_sum", DONE, [1, 2, 3], colour="blue")
    await running.until_ended(DONE)
    await running.start("golden_waits_for_an_upgrade", WAITS, 1)
    await running.until_recorded(WAITS, "StepCompleted", "TimerStarted")
    await running.start("golden_waits_for_a_person", UNCLEAR, "post")
    await running.until_status(UNCLEAR, PARKED)
    await running.submit(EARLY, signal_of("early", "before the run"))


async def dump(servers: Servers) -> list[Path]:
    """Record the dumps of today's schemas; those that are there are left."""
    made = [dump_of("sqlite", len(known_to_sqlite())), dump_of("postgres", len(known_to_postgres()))]
    missing = [path for path in made if not path.exists()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in missing:
            path.write_text(await (_sqlite(folder) if path.name.startswith("sqlite") else _postgres(servers, folder)))
    return missing


async def _sqlite(folder: Path) -> str:
    path = folder / "holdfast.db"
    store = SqliteStore(path)
    await store.install(SHARDS)
    await store.open()
    async with engine(store, SqliteLedger(store), folder) as running:
        await fill(running)
    await store.close()
    with closing(sqlite3.connect(path)) as link:
        return "\n".join(link.iterdump()) + "\n"


async def _postgres(servers: Servers, folder: Path) -> str:
    store = PostgresStore(servers.postgres, NAMESPACE)
    try:
        await store.install(SHARDS)
        await store.open()
        (folder / "of postgres").mkdir()
        async with engine(store, PostgresLedger(store), folder / "of postgres") as running:
            await fill(running)
        await store.close()
        return await asyncio.to_thread(_dumped, servers.postgres)
    finally:
        async with await psycopg.AsyncConnection.connect(servers.postgres) as link:
            await link.execute(f"DROP SCHEMA IF EXISTS {NAMESPACE} CASCADE".encode())


def _dumped(url: str) -> str:
    program = shutil.which("pg_dump") or str(max(Path("/usr/lib/postgresql").glob("*/bin/pg_dump")))
    options = ["--inserts", "--no-owner", "--no-privileges", "--schema", NAMESPACE, url]
    text = subprocess.run([program, *options], capture_output=True, text=True, check=True).stdout
    # Comments, settings of the session and commands for psql are not of the schema.
    kept = [
        line for line in text.splitlines() if line and not re.match(r"--|\\|SET |SELECT pg_catalog.set_config", line)
    ]
    return "\n".join(kept) + "\n"
