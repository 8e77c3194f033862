"""The load generator: one engine in one mode, in a process of its own, at each concurrency in turn.

A closed loop: `concurrency` clients, each starts a workflow, waits for its result, starts the next. After a warm-up a
window is measured: the workflows that end inside it, their latencies from start to result, and the CPU time of each
process between its two ends.

Run by bench.run as `python -m bench.load`; writes one JSON object a line to the file it is given.
"""

import argparse
import asyncio
import gc
import itertools
import json
import math
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import TextIO

import uvloop

from bench import processes
from bench.engines import CATALOGUE, STEPS, Engine, load

_PATIENCE = 60.0
"""Seconds an engine may take for one workflow before the cell counts as failed."""
_LOOK = 5.0
_SETTLING_CONCURRENCY = 64
"""Before the first cell the engine runs at this concurrency, unmeasured: caches fill, a JVM compiles. Kafka's compiler
takes part of a core for the first half minute."""


@dataclass(frozen=True)
class Row:
    """One cell of the table: what `bench/results/latest.json` holds for an engine, a mode and a concurrency."""

    engine: str
    mode: str
    concurrency: int
    wf_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_s: Mapping[str, float]
    workflows: int
    seconds: float


@dataclass
class _Loop:
    """What the clients of one cell share."""

    numbers: "itertools.count[int]"
    counting: bool = False
    ended: int = 0
    stopping: bool = False
    under_way: dict[int, float] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Give the smallest value that `share` of the sorted values do not exceed."""
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


async def _client(engine: Engine, shared: _Loop) -> None:
    while not shared.stopping:
        n = next(shared.numbers)
        begun = time.perf_counter()
        shared.under_way[n] = begun
        await engine.run_one(n)
        del shared.under_way[n]
        shared.ended += 1
        if shared.counting:
            shared.latencies.append((time.perf_counter() - begun) * 1000)
            shared.finished.append(n)


def _cpu(engine: Engine) -> dict[str, float]:
    return {"load": processes.own_cpu_seconds(), **processes.cpu_seconds(engine.processes())}


async def measure(
    engine: Engine,
    concurrency: int,
    numbers: "itertools.count[int]",
    *,
    warm_up: float,
    seconds: float,
    steps: int = STEPS,
) -> Row:
    """Measure one cell, then look into the engine's store for the steps of a few of its workflows."""
    shared = _Loop(numbers)
    clients = [asyncio.create_task(_client(engine, shared)) for _ in range(concurrency)]
    try:
        await _pass(shared, clients, warm_up)
        gc.collect()
        cpu_before, begun = _cpu(engine), time.perf_counter()
        shared.counting = True
        await _pass(shared, clients, seconds)
        shared.counting = False
        taken, cpu_after = time.perf_counter() - begun, _cpu(engine)
        shared.stopping = True
        await _ended(shared, clients)
    finally:
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    await _prove_durable(engine, shared.finished, steps)
    ordered = sorted(shared.latencies)
    return Row(
        engine=engine.name,
        mode=engine.mode,
        concurrency=concurrency,
        wf_per_s=round(len(ordered) / taken, 1),
        p50_ms=round(percentile(ordered, 0.50), 3),
        p99_ms=round(percentile(ordered, 0.99), 3),
        cpu_s={name: round(cpu_after[name] - cpu_before[name], 2) for name in cpu_after if name in cpu_before},
        workflows=len(ordered),
        seconds=round(taken, 2),
    )


async def _pass(shared: _Loop, clients: Sequence["asyncio.Task[None]"], seconds: float) -> None:
    """Let time pass: `seconds`, and longer until as many workflows have ended as there are clients.

    A slow engine's clients may move in lockstep; a window shorter than their round would measure none or all of them.
    """
    wanted = shared.ended + len(clients)
    until, latest = time.perf_counter() + seconds, time.perf_counter() + seconds + _PATIENCE
    while (now := time.perf_counter()) < until or (shared.ended < wanted and now < latest):
        wait = min(until - now, _LOOK) if now < until else 0.02
        done, _ = await asyncio.wait(clients, timeout=wait, return_when=asyncio.FIRST_EXCEPTION)
        _judge(shared, done)


async def _ended(shared: _Loop, clients: Sequence["asyncio.Task[None]"]) -> None:
    """Wait for the workflows that are under way."""
    waiting = set(clients)
    while waiting:
        done, waiting = await asyncio.wait(waiting, timeout=_LOOK, return_when=asyncio.FIRST_EXCEPTION)
        _judge(shared, done)


def _judge(shared: _Loop, done: Collection["asyncio.Task[None]"]) -> None:
    """Raise what a client raised, or that a workflow takes too long: seen from outside, which costs a run nothing."""
    for client in done:
        client.result()
    n, begun = min(shared.under_way.items(), key=itemgetter(1), default=(0, math.inf))
    if time.perf_counter() - begun > _PATIENCE:
        raise TimeoutError(f"workflow {n} has not ended after {_PATIENCE:g} s")


async def _prove_durable(engine: Engine, finished: Sequence[int], steps: int) -> None:
    if not finished:
        raise RuntimeError("no workflow ended inside the window: measure for longer")
    for n in {finished[0], finished[len(finished) // 2], finished[-1]}:
        stored = await engine.steps_stored(n)
        if stored != steps:
            raise RuntimeError(f"workflow {n} has ended, and the engine's store holds {stored} of its {steps} steps")


async def run(options: argparse.Namespace, out: TextIO) -> None:
    """Start the engine, measure each cell, end it."""
    entry = next(entry for entry in CATALOGUE if (entry.engine, entry.mode) == (options.engine, options.mode))
    engine = load(entry)(options.workspace)
    numbers = itertools.count(1)

    def say(kind: str, content: object) -> None:
        out.write(json.dumps({"kind": kind, "content": content}) + "\n")
        out.flush()

    try:
        await engine.start()
        say("facts", dict(engine.facts()))
        gc.collect()
        gc.freeze()  # what was imported is nobody's garbage: a collection of it would stop the clients for 50 ms
        await measure(engine, _SETTLING_CONCURRENCY, numbers, warm_up=0, seconds=options.settle)
        for concurrency in options.concurrency:
            row = await measure(engine, concurrency, numbers, warm_up=options.warm_up, seconds=options.seconds)
            say("row", asdict(row))
    finally:
        await engine.stop()


def main() -> None:
    """Read the arguments that bench.run gives."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("engine")
    parser.add_argument("mode")
    parser.add_argument("--concurrency", type=lambda text: [int(part) for part in text.split(",")], required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm-up", type=float, required=True)
    parser.add_argument("--settle", type=float, required=True)
    parser.add_argument("--workspace", type=Path, required=True, help="an empty folder for the engine's data and logs")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with options.out.open("a") as out:
        try:
            uvloop.run(run(options, out))
        except Exception as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            raise SystemExit(1) from error


if __name__ == "__main__":
    main()
