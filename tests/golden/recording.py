"""Recording a golden history: the story is run by the real engine on a file, and what the file holds is kept."""

import asyncio
import sqlite3
import tempfile
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from holdfast.adapters.databases import NamedDatabases
from holdfast.core.behind import PART
from holdfast.core.payload import Payload
from holdfast.core.run import CONTINUED, ENDED, PARKED
from holdfast.ports.journal import RunRow, StoredEvent, StoredRun
from tests.golden import files
from tests.golden.files import Golden, GoldenRun
from tests.golden.telling import Story
from tests.integration.running import CODEC, DEADLINE, Process, process

PARTS = {"cut_turn": 3}
"""After how many requests a turn is cut in a story: where it is the subject, few make a history that can be read."""
ROOT = f"{Path(__file__).parents[2]}/"


async def record(name: str, story: Story) -> Golden:
    """Run a story and keep what it leaves."""
    with tempfile.TemporaryDirectory() as folder:
        databases = await _shop(Path(folder) / "shop.db")
        async with process(
            Path(folder) / "holdfast.db", databases=databases, turn_part=PARTS.get(name, PART)
        ) as running:
            async with asyncio.timeout(DEADLINE):
                await story(running)
                await running.until_empty_log()
                runs = await _at_rest(running)
            wanted = {blob for run in runs for one in run.history for blob in _blobs_of(one)}
            blobs = dict(await running.store.blobs(wanted)) if wanted else {}
    release = metadata.version("holdfast")
    golden = Golden(release, tuple(map(_kept, runs)), blobs)
    files.write(name, golden, CODEC.schemas(release))
    return golden


async def _shop(path: Path) -> dict[str, str]:
    """Make the database that effects of the guard `transaction` write to."""
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE entries (entry TEXT)")
    named = {"golden": f"sqlite:///{path}"}
    databases = NamedDatabases(named)
    await databases.install("golden")
    await databases.close()
    return named


async def _at_rest(running: Process) -> list[StoredRun]:
    while True:
        running.check()
        rows = await running.store.runs()
        if rows and all(row.status in {*ENDED, PARKED} for row in rows):
            stored = await running.store.load([row.run_id for row in rows])
            return [one for row in rows for one in (*await _before(running, row), stored[row.run_id])]
        await asyncio.sleep(0.01)


async def _before(running: Process, row: RunRow) -> list[StoredRun]:
    """Read the incarnations before the present one."""
    earlier = (msgspec.structs.replace(row, incarnation=n, status=CONTINUED) for n in range(row.incarnation))
    return [StoredRun(one, tuple(await running.store.incarnation(one.run_id, one.incarnation))) for one in earlier]


def _kept(stored: StoredRun) -> GoldenRun:
    row = stored.row
    history = tuple(map(_without_folders, stored.history))
    return GoldenRun(row.run_id, row.incarnation, row.workflow, row.version, row.status, history)


def _without_folders(one: StoredEvent) -> StoredEvent:
    """Take out where the checkout lies: tracebacks tell it."""
    if ROOT.encode() not in one.data:
        return one
    event: Any = _cleaned(CODEC.decode_event(one.type, one.data))
    return msgspec.structs.replace(one, data=CODEC.encode_event(event))


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(ROOT, "")
    if isinstance(value, bytes):
        return value.replace(ROOT.encode(), b"")
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(
            value, **{key: _cleaned(part) for key, part in msgspec.structs.asdict(value).items()}
        )
    return value


def _blobs_of(one: StoredEvent) -> list[str]:
    event = CODEC.decode_event(one.type, one.data)
    parts = msgspec.structs.asdict(event).values()
    return [part.blob for part in parts if isinstance(part, Payload) and part.blob is not None]
