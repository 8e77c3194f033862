"""What a run costs: the memory of many sleeping runs, and the time of event 10,000 of one run.

    python -m bench.memory [--runs 100000] [--events 10000]

Each part runs in a process of its own, on the embedded profile. Memory is what the system has given the process (RSS),
at its highest. The time of an event is the better of three runs, since other work on the machine only adds to it.
"""

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from holdfast.adapters.avro.codec import AvroCodec
from holdfast.adapters.databases import NamedDatabases
from holdfast.adapters.linux import LinuxHost
from holdfast.adapters.sqlite import EmbeddedLog, SqliteDeferredInputs, SqliteLedger, SqliteStore
from holdfast.app.effects.execute import carrier
from holdfast.app.executor.invocation import Invoker
from holdfast.app.orchestrator.pipeline import Orchestrator
from holdfast.app.orchestrator.programs import latest_version, programs
from holdfast.app.worker.execute import Execution
from holdfast.app.worker.local_dispatch import LocalWorker
from holdfast.core.commands import Addressed, StartRun
from holdfast.core.payload import Payload
from holdfast.ports.log import Topic
from holdfast.profiles.profile import StoreClock, process_name
from holdfast.sdk.definitions import step, workflow

NAMESPACE = "memory"
SHARDS = 64
AT_ONCE = 500
LIMIT_MB = 250
LIMIT_RATIO = 1.2


@workflow
async def bench_sleep(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "rested"


@step
async def bench_count(number: int) -> int:
    stamps.append(time.perf_counter())
    return number + 1


stamps: list[float] = []


@workflow
async def bench_long(steps: int) -> int:
    number = 0
    for _ in range(steps):
        number = await bench_count(number)
    return number


def megabytes() -> tuple[float, float]:
    """RSS now, and at its highest."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


class Engine:
    """Orchestrator and worker on a file of their own."""

    def __init__(self, folder: str) -> None:
        self.store = SqliteStore(Path(folder) / "holdfast.db")
        self.log = EmbeddedLog(self.store)

    async def begin(self) -> None:
        await self.store.install(SHARDS)
        await self.store.open()
        await self.log.open()
        await self.log.install(
            [Topic(f"{NAMESPACE}.{name}.v1", SHARDS) for name in ("commands", "results", "tasks.default", "dlq")]
        )
        process, clock, ledger = process_name(), StoreClock(), SqliteLedger(self.store)
        effects = carrier(
            ledger_=ledger,
            store=self.store,
            clock=clock,
            host=LinuxHost(),
            databases=NamedDatabases({}),
            process=process,
            invoker=Invoker(256),
        )
        worker = LocalWorker(Execution(self.store, effects), lambda result: self.orchestrator.put_result(result))  # noqa: PLW0108 - made after it
        self.orchestrator = Orchestrator(
            store=self.store,
            ledger=ledger,
            log_=self.log,
            clock=clock,
            codec=AvroCodec(),
            deferred=SqliteDeferredInputs(self.store),
            new_program=programs(NAMESPACE),
            default_version=latest_version,
            namespace=NAMESPACE,
            shards=SHARDS,
            process=process,
            serves=lambda _: True,
            dispatch=worker.submit,
            publishes=False,
        )
        self.serving = asyncio.create_task(self.orchestrator.serve())
        await self.orchestrator.ready.wait()

    async def start(self, workflow_name: str, run_id: str, value: float) -> None:
        command = StartRun(workflow=workflow_name, input=Payload(data=json.dumps(value).encode()))
        await self.orchestrator.submit(Addressed(run_id, command))


async def sleeping(runs: int, seconds: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(folder)
        await engine.begin()
        empty, _ = megabytes()
        began = time.perf_counter()
        for first in range(0, runs, AT_ONCE):
            names = [f"sleeper-{number}" for number in range(first, min(runs, first + AT_ONCE))]
            await asyncio.gather(*(engine.start("bench_sleep", name, seconds) for name in names))
        took = time.perf_counter() - began
        now, highest = megabytes()
        live = len(engine.orchestrator.live)
        engine.serving.cancel()
        await asyncio.gather(engine.serving, return_exceptions=True)
        await engine.log.close()
        await engine.store.close()
    return {"runs": runs, "empty_mb": empty, "rss_mb": now, "highest_mb": highest, "in_memory": live, "seconds": took}


async def long(events: int) -> dict[str, float]:
    steps = events // 2
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(folder)
        await engine.begin()
        for warm in range(20):
            ended = engine.orchestrator.waiters.ended(f"warm-{warm}")
            await engine.start("bench_long", f"warm-{warm}", 50)
            await ended
        stamps.clear()
        ended = engine.orchestrator.waiters.ended("long")
        await engine.start("bench_long", "long", steps)
        await ended
        engine.serving.cancel()
        await asyncio.gather(engine.serving, return_exceptions=True)
        await engine.log.close()
        await engine.store.close()
    each = [later - sooner for sooner, later in pairwise(stamps)]
    span = len(each) // 10
    first, last = statistics.median(each[:span]), statistics.median(each[-span:])
    return {"events": events, "first_us": first / 2 * 1e6, "last_us": last / 2 * 1e6, "ratio": last / first}


def apart(part: str, *words: str) -> dict[str, float]:
    """Measure one part in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.memory", "--part", part, *words], check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--runs", type=int, default=100_000)
    words.add_argument("--events", type=int, default=10_000)
    words.add_argument("--part")
    asked = words.parse_args()
    match asked.part:
        case "asleep":
            print(json.dumps(asyncio.run(sleeping(asked.runs, 3_000.0))))
            return 0
        case "long":
            print(json.dumps(asyncio.run(long(asked.events))))
            return 0
    far = apart("asleep", "--runs", str(asked.runs))
    print(
        f"{far['runs']:,.0f} runs asleep for 50 minutes: {far['rss_mb']:.0f} MB (at most {far['highest_mb']:.0f}, "
        f"{far['empty_mb']:.0f} before), {far['in_memory']:,.0f} of them in memory; started in {far['seconds']:.0f} s"
    )
    cost = min((apart("long", "--events", str(asked.events)) for _ in range(3)), key=lambda one: one["ratio"])
    print(
        f"one run of {cost['events']:,.0f} events: {cost['first_us']:.0f} µs an event in its first tenth, "
        f"{cost['last_us']:.0f} µs in its last: × {cost['ratio']:.2f}"
    )
    return 0 if far["highest_mb"] < LIMIT_MB and cost["ratio"] <= LIMIT_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
