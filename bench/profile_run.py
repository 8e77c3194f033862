"""What one embedded run costs, in processor time; and, if asked, where it goes.

    python -m bench.profile_run [--concurrency 64] [--runs 4000] [--windows 5] [--functions 40]
                                [--workflow three_steps | one_step | one_effect]

Client, engine and steps share this one process and its event loop. A window is `--runs` workflows; the figures of the
cheapest window come closest to a quiet machine, since other work on it only adds to them. `--functions N` also runs one
window under cProfile and lists the N functions that take the most time themselves; its overhead is not in the figures.
"""

import argparse
import asyncio
import cProfile
import pstats
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.apps.holdfast_app import one_effect, one_step, three_steps
from bench.engines import STEPS
from holdfast import Client
from holdfast.profiles.engine import Engine
from holdfast.profiles.services import serve
from holdfast.settings import load

_WARM_UP = 1_000
_TURN_LIMIT = "60"
"""A slice that takes long is cut by the watchdog's looks: never here, where valgrind may run all fifty times slower."""
_WORKFLOWS = {
    workflow.name: (workflow, added) for workflow, added in ((three_steps, STEPS), (one_step, 1), (one_effect, 1))
}
"""With what each adds to its input."""


@dataclass(frozen=True)
class Window:
    """One window's cost of a run, in microseconds; `median` is the latency from start to result."""

    user: float
    system: float
    wall: float
    median: float

    def __str__(self) -> str:
        cpu = self.user + self.system
        return (
            f"{cpu:6.1f} µs CPU a run ({self.user:.1f} user, {self.system:.1f} system), "
            f"{1e6 / self.wall:,.0f} runs/s, p50 {self.median / 1000:.2f} ms"
        )


class Load:
    """A closed loop: each of `concurrency` clients starts a workflow, waits for its result, starts the next."""

    def __init__(self, client: Client, concurrency: int, workflow: str) -> None:
        self._client = client
        self._workflow, self._added = _WORKFLOWS[workflow]
        self._concurrency = concurrency
        self._number = 0
        self._last = 0
        self._waits: list[float] = []

    async def run(self, runs: int) -> Window:
        """Let `runs` workflows run and end."""
        self._last = self._number + runs
        self._waits.clear()
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        await asyncio.gather(*(self._one_after_the_other() for _ in range(self._concurrency)))
        took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
        each = 1e6 / runs
        return Window(
            user=(after.ru_utime - before.ru_utime) * each,
            system=(after.ru_stime - before.ru_stime) * each,
            wall=took * each,
            median=statistics.median(self._waits) * 1e6,
        )

    async def _one_after_the_other(self) -> None:
        while self._number < self._last:
            self._number += 1
            number, began = self._number, time.perf_counter()
            run = await self._client.start(self._workflow, number, id=f"bench-{number}")
            if await run.result() != number + self._added:
                raise RuntimeError(f"run {number} has a wrong result")
            self._waits.append(time.perf_counter() - began)


async def measure(asked: argparse.Namespace, engine: Engine, stop: asyncio.Event) -> None:
    """Measure all windows, print the cheapest, then stop the engine."""
    try:
        async with Client(engine=engine) as client:
            load_ = Load(client, asked.concurrency, asked.workflow)
            await load_.run(min(_WARM_UP, asked.runs))
            windows = [await load_.run(asked.runs) for _ in range(asked.windows)]
            print(min(windows, key=lambda window: window.user + window.system))
            if asked.functions:
                await _profile(load_, asked.runs, asked.functions)
    finally:
        stop.set()


async def _profile(load_: Load, runs: int, functions: int) -> None:
    profiler = cProfile.Profile()
    profiler.enable()
    await load_.run(runs)
    profiler.disable()
    pstats.Stats(profiler, stream=sys.stdout).sort_stats("tottime").print_stats(functions)


async def main(asked: argparse.Namespace) -> None:
    """Serve an engine on a file of its own, as `holdfast dev` does, for as long as the measurement takes."""
    stop = asyncio.Event()
    measuring: list[asyncio.Task[None]] = []
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        settings = load({}, {"HOLDFAST_STORE": f"sqlite:///{folder}/holdfast.db", "HOLDFAST_TURN_LIMIT": _TURN_LIMIT})

        def begin(engine: Engine) -> None:
            measuring.append(asyncio.get_running_loop().create_task(measure(asked, engine, stop)))

        await serve(settings, orchestrator=True, worker=True, stop=stop, on_ready=begin)
        await measuring[0]


if __name__ == "__main__":
    words = argparse.ArgumentParser(prog="python -m bench.profile_run", description=__doc__)
    words.add_argument("--concurrency", type=int, default=64)
    words.add_argument("--runs", type=int, default=4_000)
    words.add_argument("--windows", type=int, default=5)
    words.add_argument("--functions", type=int, default=0)
    words.add_argument("--workflow", choices=_WORKFLOWS, default="three_steps")
    words.add_argument("--folder", type=Path, help="where the file of the engine lies while it runs")
    uvloop.run(main(words.parse_args()))
