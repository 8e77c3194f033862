"""How an engine recovers from overdue work: attempts that a process an hour ago left open, and fresh runs beside them.

    python -m bench.overdue [--attempts 1000000] [--concurrency 16] [--limit-mb 600]

A file is filled with runs of one open attempt each, in bulk and not through the engine. Then an embedded engine opens
it, and a closed loop of `--concurrency` clients starts small runs of three steps, first on an empty file (alone), then
while the overdue attempts are sent again and their runs end (beside). Printed: attempts a second, p50 and p99 of the
small runs, the process's memory at its highest. It ends with 1 if the memory is over its limit.
"""

import argparse
import asyncio
import resource
import statistics
import tempfile
import time
from pathlib import Path

import uvloop

from bench.apps.holdfast_app import one_step, three_steps
from bench.engines import STEPS
from holdfast import Client
from holdfast.adapters.avro.codec import AvroCodec
from holdfast.adapters.sqlite import SqliteStore
from holdfast.app.blobs import BlobShelf
from holdfast.app.orchestrator.programs import programs
from holdfast.core.commands import StartRun
from holdfast.core.identity import shard_of
from holdfast.core.payload import Payload
from holdfast.core.replay import advance
from holdfast.core.run import Run
from holdfast.ports.journal import Committed, RunRow, ShardBatch, StoredEvent
from holdfast.ports.store import Store
from holdfast.ports.timers import AttemptRow
from holdfast.profiles import install
from holdfast.profiles.engine import Engine
from holdfast.profiles.services import serve
from holdfast.settings import Settings, load

AT_ONCE = 10_000
HOUR = 3600 * 1_000_000
ALONE = 4.0
"""Seconds for which small runs are measured alone."""


async def fill(store: Store, workflow: str, count: int, *, shards: int, namespace: str) -> None:
    """Leave `count` runs as a process that ended an hour ago did: one open attempt each, handed over in memory.

    All have the input 1, so that their events are the same bytes.
    """
    codec = AvroCodec()
    at = await store.now() - HOUR
    start = StartRun(workflow=workflow, version="1", input=Payload(data=b"1"))
    program = programs(namespace)(BlobShelf(store))("template", 0)
    happened = advance(Run("template"), program, start, at).events
    program.evict()
    events = [(seq, type(event).__name__, codec.encode_event(event)) for seq, event in enumerate(happened, 1)]
    (step_id,) = {event.step_id for event in happened if hasattr(event, "step_id")}
    rows = await store.take(range(shards), "a process of an hour ago")
    numbers = {shard: row.last_batch for shard, row in rows.items()}
    for first in range(0, count, AT_ONCE):
        batch: dict[int, ShardBatch] = {}
        for number in range(first, min(first + AT_ONCE, count)):
            run_id = f"overdue-{number}"
            shard = shard_of(run_id, shards)
            part = batch.get(shard)
            if part is None:
                numbers[shard] += 1
                # Lists of their own: msgspec copies only empty defaults, and these are filled in place.
                part = batch[shard] = ShardBatch(rows[shard].epoch, numbers[shard], 0)
            part.started.append(RunRow(run_id, 0, shard, workflow, "1", "RUNNING", {}, at))
            part.events.extend(StoredEvent(run_id, 0, seq, kind, data, at) for seq, kind, data in events)
            part.attempts_opened.append(AttemptRow(run_id, 0, step_id, 1, shard, "a process of an hour ago", at))
        committed = await store.commit(batch)
        assert isinstance(committed, Committed), committed


async def left(store: Store, shards: int) -> bool:
    """Tell whether an attempt of the overdue runs is open still."""
    after: object = None
    while True:
        page = await store.open_attempts(range(shards), 2**62, 1_000, after)
        if any(row.run_id.startswith("overdue") for row in page.rows):
            return True
        if page.after is None:
            return False
        after = page.after


class Fresh:
    """Small runs, one after the other at each of some clients; how long each took, in milliseconds."""

    def __init__(self, client: Client, concurrency: int) -> None:
        self._client = client
        self._number = 0
        self.waits: list[float] = []
        self._clients = [asyncio.create_task(self._run_on()) for _ in range(concurrency)]

    async def _run_on(self) -> None:
        while True:
            self._number += 1
            number, began = self._number, time.perf_counter()
            run = await self._client.start(three_steps, number, id=f"fresh-{number}-{began}")
            if await run.result() != number + STEPS:
                raise RuntimeError(f"fresh run {number} has a wrong result")
            self.waits.append((time.perf_counter() - began) * 1e3)

    async def end(self) -> str:
        """Stop; tell p50 and p99."""
        for one in self._clients:
            one.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        median, p99 = statistics.median(self.waits), statistics.quantiles(self.waits, n=100)[98]
        return f"{len(self.waits):,} fresh runs, p50 {median:.1f} ms, p99 {p99:.1f} ms"


async def measured(engine: Engine, store: SqliteStore, shards: int, attempts: int, concurrency: int) -> bool:
    """Measure small runs until nothing overdue is left."""
    began = time.perf_counter()
    async with Client(engine=engine) as client:
        fresh = Fresh(client, concurrency)
        if not attempts:
            await asyncio.sleep(ALONE)
            print("alone: ", await fresh.end(), flush=True)
            return True
        while await left(store, shards):
            await asyncio.sleep(0.5)
        took = time.perf_counter() - began
        print("beside:", await fresh.end())
        print(f"{attempts:,} overdue attempts in {took:.0f} s: {attempts / took:,.0f} a second", flush=True)
        return True


async def one(settings: Settings, attempts: int, concurrency: int) -> bool:
    """Serve a file with so many overdue attempts until they are done."""
    path = settings.store.removeprefix("sqlite:///")
    store = SqliteStore(Path(path))
    shards = settings.shards
    await install(settings)
    await store.open()
    if attempts:
        await fill(store, one_step.name, attempts, shards=shards, namespace=settings.namespace)
    stop = asyncio.Event()
    working: list[asyncio.Task[bool]] = []

    async def work(engine: Engine) -> bool:
        try:
            return await measured(engine, store, shards, attempts, concurrency)
        finally:
            stop.set()

    def begin(engine: Engine) -> None:
        working.append(asyncio.get_running_loop().create_task(work(engine)))

    await serve(settings, orchestrator=True, worker=True, stop=stop, on_ready=begin)
    await store.close()
    return await working[0]


def main() -> int:
    words = argparse.ArgumentParser(
        prog="python -m bench.overdue", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--attempts", type=int, default=1_000_000)
    words.add_argument("--concurrency", type=int, default=16, help="clients that start small runs")
    words.add_argument("--limit-mb", type=int, default=600, help="what the process may have at its highest")
    asked = words.parse_args()
    for attempts in (0, asked.attempts):
        with tempfile.TemporaryDirectory() as folder:
            settings = load({}, {"HOLDFAST_STORE": f"sqlite:///{folder}/holdfast.db"})
            uvloop.run(one(settings, attempts, asked.concurrency))
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"memory at its highest: {highest:.0f} MB (limit {asked.limit_mb} MB)")
    return 0 if highest <= asked.limit_mb else 1


if __name__ == "__main__":
    raise SystemExit(main())
