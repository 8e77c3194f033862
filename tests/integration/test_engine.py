"""The services of one process together, and how they leave: over a file, as if there were other processes."""

import asyncio
from pathlib import Path

from holdfast.adapters.memory import MemoryKeys
from holdfast.adapters.sqlite import (
    EmbeddedLog,
    SqliteDeaths,
    SqliteDeferredInputs,
    SqliteLedger,
    SqliteSchemas,
    SqliteStore,
)
from holdfast.core.commands import Addressed, Command
from holdfast.core.identity import shard_of
from holdfast.ports.recorder import UNRECORDED
from holdfast.ports.timers import AttemptRow
from holdfast.profiles.engine import Engine
from holdfast.profiles.profile import Profile
from holdfast.sdk.definitions import signal, step, workflow
from holdfast.settings import Settings
from tests.integration.running import CODEC, NAMESPACE, SHARDS, install, signal_of, start

begun = asyncio.Event()
gate = asyncio.Event()


@step
async def engine_slow(name: str) -> str:
    begun.set()
    await gate.wait()
    return name


@step
async def engine_quick(name: str) -> str:
    return name


@workflow
async def engine_slowly(name: str) -> str:
    return await engine_slow(name)


@workflow
async def engine_when_told(name: str) -> str:
    await signal("go")
    return await engine_quick(name)


async def submit(engine: Engine, run_id: str, command: Command) -> None:
    assert engine.orchestrator is not None
    async with asyncio.timeout(10):
        await engine.orchestrator.submit(Addressed(run_id, command))


async def attempt_of(store: SqliteStore, run_id: str) -> AttemptRow:
    """Wait until an attempt of a run is open."""
    async with asyncio.timeout(10):
        while True:
            for row in (await store.open_attempts([shard_of(run_id, SHARDS)], 2**62, 10)).rows:
                if row.run_id == run_id:
                    return row
            await asyncio.sleep(0.01)


async def test_what_is_scheduled_while_a_process_leaves_goes_to_the_others(tmp_path: Path) -> None:
    begun.clear()
    gate.clear()
    path = tmp_path / "holdfast.db"
    await install(path)
    store = SqliteStore(path)
    profile = Profile(
        settings=Settings(namespace=NAMESPACE, shards=SHARDS), store=store, ledger=SqliteLedger(store),
        deaths=SqliteDeaths(store), deferred=SqliteDeferredInputs(store), schemas=SqliteSchemas(store),
        log=EmbeddedLog(store), keys=MemoryKeys(), codec=CODEC, embedded=False,
    )  # fmt: skip
    profile.records = UNRECORDED
    await profile.open()
    engine = Engine(profile)
    await engine.start()
    await submit(engine, "slow", start("engine_slowly", "slow"))
    await submit(engine, "told", start("engine_when_told", "told"))
    await begun.wait()
    assert (await attempt_of(store, "slow")).sent_to == engine.process
    leaving = asyncio.get_running_loop().create_task(engine.stop(drain=20))
    await asyncio.sleep(0)
    await submit(engine, "told", signal_of("go"))
    assert (await attempt_of(store, "told")).sent_to is None
    gate.set()
    await leaving
    (row,) = (await profile.ledger.processes([engine.process])).values()
    assert row.gone == "it said goodbye"
    await profile.close()
