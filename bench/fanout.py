"""What one run of many steps costs, and what it costs the others: `gather` of no-op steps, embedded.

    python -m bench.fanout [--steps 1000,4000,16000] [--rounds 3] [--beside 16000] [--concurrency 16] [--seconds 5]

Each size runs in a process of its own, in an engine that has run before: start-up is taken off. Its rate is the steps
of a run over the time from start to result, in the best of the rounds, since other work on the machine only adds to it.
Its memory is what the system has given the process at its highest (RSS), and what it had before.

Then small runs (three steps each, a closed loop of `--concurrency` clients) are measured alone, and again while runs of
`--beside` steps follow one another in the same process. `--beside 0` leaves that out.
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
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

import uvloop

from bench.apps.holdfast_app import add_one, three_steps
from bench.engines import STEPS
from holdfast import Client, workflow
from holdfast.profiles.engine import Engine
from holdfast.profiles.services import serve
from holdfast.settings import load

GOAL_RATE = 0.6
"""What the rate of the largest size should be, in that of the smallest."""
GOAL_BESIDE = 5.0
"""How many times its p99 alone the p99 of small runs may be beside a large one."""
_WARM_UP = 1_000


@workflow
async def fan_out(steps: int) -> int:
    """Run many steps at once, and add up what they give."""
    return sum(await asyncio.gather(*(add_one(number) for number in range(steps))))


@dataclass(frozen=True)
class Size:
    """Runs of one size: steps a second in the best round, and the process's memory in MB."""

    steps: int
    rate: float
    before_mb: float
    highest_mb: float


@dataclass(frozen=True)
class Beside:
    """Small runs alone and beside a large one: milliseconds, and runs a second."""

    alone_p50: float
    alone_p99: float
    alone_rate: float
    beside_p50: float
    beside_p99: float
    beside_rate: float


class Load:
    """What the clients ask of the engine of this process."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._number = 0

    async def fan_out(self, steps: int) -> float:
        """Let one large run end; tells how long it took, in seconds."""
        self._number += 1
        began = time.perf_counter()
        run = await self._client.start(fan_out, steps, id=f"large-{self._number}")
        result = await run.result()
        took = time.perf_counter() - began
        if result != steps * (steps + 1) // 2:
            raise RuntimeError(f"a run of {steps} steps has a wrong result: {result}")
        return took

    async def small_runs(self, concurrency: int, until: Callable[[], bool]) -> list[float]:
        """Let small runs follow one another; tells how long each took, in seconds."""
        waits: list[float] = []
        await asyncio.gather(*(self._one_after_the_other(waits, until) for _ in range(concurrency)))
        return waits

    async def _one_after_the_other(self, waits: list[float], until: Callable[[], bool]) -> None:
        while not until():
            self._number += 1
            number, began = self._number, time.perf_counter()
            run = await self._client.start(three_steps, number, id=f"small-{number}")
            if await run.result() != number + STEPS:
                raise RuntimeError(f"run {number} has a wrong result")
            waits.append(time.perf_counter() - began)


def megabytes() -> float:
    """What the process had at its highest."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


async def size(load_: Load, steps: int, rounds: int) -> Size:
    await load_.fan_out(min(_WARM_UP, steps))
    before = megabytes()
    took = min([await load_.fan_out(steps) for _ in range(rounds)])
    return Size(steps, steps / took, before, megabytes())


async def beside(load_: Load, steps: int, concurrency: int, seconds: float) -> Beside:
    """Measure small runs alone, then beside large ones for at least as long."""

    def over(at: float) -> Callable[[], bool]:
        return lambda: time.perf_counter() >= at

    await load_.small_runs(concurrency, over(time.perf_counter() + 1))
    alone = await load_.small_runs(concurrency, over(time.perf_counter() + seconds))
    ended = False
    began = time.perf_counter()
    small = asyncio.create_task(load_.small_runs(concurrency, lambda: ended))
    while time.perf_counter() < began + seconds:
        await load_.fan_out(steps)
    ended = True
    with_large = await small
    took = time.perf_counter() - began
    return Beside(*told(alone, seconds), *told(with_large, took))


def told(waits: list[float], seconds: float) -> tuple[float, float, float]:
    """Give p50 and p99 in milliseconds, and the rate."""
    return (
        statistics.median(waits) * 1e3,
        statistics.quantiles(waits, n=100)[98] * 1e3,
        len(waits) / seconds,
    )


async def in_engine(work: Callable[[Load], Awaitable[Size | Beside]]) -> Size | Beside:
    """Serve an engine on a file of its own, as `holdfast dev` does, for as long as the work takes."""
    stop = asyncio.Event()
    working: list[asyncio.Task[Size | Beside]] = []

    async def measure(engine: Engine) -> Size | Beside:
        try:
            async with Client(engine=engine) as client:
                return await work(Load(client))
        finally:
            stop.set()

    with tempfile.TemporaryDirectory() as folder:
        settings = load({}, {"HOLDFAST_STORE": f"sqlite:///{folder}/holdfast.db"})

        def begin(engine: Engine) -> None:
            working.append(asyncio.get_running_loop().create_task(measure(engine)))

        await serve(settings, orchestrator=True, worker=True, stop=stop, on_ready=begin)
        return await working[0]


def apart(*words: str) -> dict[str, float]:
    """Measure one part in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "bench.fanout", *words], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> int:
    words = argparse.ArgumentParser(
        prog="python -m bench.fanout", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--steps", default="1000,4000,16000", help="sizes, with commas between them")
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--beside", type=int, default=16_000, help="steps of the runs beside which small ones run")
    words.add_argument("--concurrency", type=int, default=16, help="clients that start small runs")
    words.add_argument("--seconds", type=float, default=5.0)
    words.add_argument("--part", choices=("size", "beside"), help=argparse.SUPPRESS)
    asked = words.parse_args()
    match asked.part:
        case "size":
            print(json.dumps(asdict(uvloop.run(in_engine(lambda it: size(it, int(asked.steps), asked.rounds))))))
            return 0
        case "beside":
            small = uvloop.run(in_engine(lambda it: beside(it, asked.beside, asked.concurrency, asked.seconds)))
            print(json.dumps(asdict(small)))
            return 0
    rates: list[float] = []
    for steps in sorted(int(word) for word in asked.steps.split(",")):
        one = Size(**apart("--part", "size", "--steps", str(steps), "--rounds", str(asked.rounds)))  # type: ignore[arg-type]  # JSON has no integers of its own
        rates.append(one.rate)
        print(
            f"{steps:7,} steps: {one.rate:7,.0f} steps/s, {one.rate / rates[0]:.2f} of the smallest; "
            f"at most {one.highest_mb:.0f} MB, {one.before_mb:.0f} before",
            flush=True,
        )
    good = rates[-1] >= GOAL_RATE * rates[0]
    if asked.beside:
        options = ("--beside", "--concurrency", "--seconds")
        values = (str(asked.beside), str(asked.concurrency), str(asked.seconds))
        told_ = Beside(
            **apart("--part", "beside", *(word for pair in zip(options, values, strict=True) for word in pair))
        )
        ratio = told_.beside_p99 / told_.alone_p99
        print(
            f"small runs alone: {told_.alone_rate:,.0f} a second, p50 {told_.alone_p50:.1f} ms, "
            f"p99 {told_.alone_p99:.1f} ms\n"
            f"beside runs of {asked.beside:,} steps: {told_.beside_rate:,.0f} a second, p50 {told_.beside_p50:.1f} ms, "
            f"p99 {told_.beside_p99:.1f} ms, {ratio:.1f} times that alone"
        )
        good = good and ratio <= GOAL_BESIDE
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
