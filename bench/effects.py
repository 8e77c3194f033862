"""What the ledger costs: a workflow of one no-op effect against the same of one no-op step, side by side in one run.

    python bench/effects.py [--modes embedded,local,separate] [--concurrency 1,64] [--rounds 5] [--seconds 3]

Both workflows run in the same processes on the same store, in turns: a round measures the one and right after it the
other, and the order changes from round to round. A ratio is that of one round; the document has the middle one of all
rounds, and each of them. See bench/README.md.
"""

import argparse
import itertools
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Protocol, TypedDict, cast

if __package__ in {None, ""}:  # started as a file: `python bench/effects.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import uvloop
from rich.console import Console

from bench import report
from bench.engines import Engine, WrongResultError
from bench.engines.holdfast import Embedded, Local, Separate
from bench.launch import ROOT
from bench.load import measure
from bench.run import console_of, machine

RESULTS = ROOT / "bench" / "results" / "effects.json"
WORKSPACE = ROOT / "build" / "bench" / "effects"
MODES: dict[str, Callable[[Path], "Holdfast"]] = {"embedded": Embedded, "local": Local, "separate": Separate}
STEP, EFFECT = "one_step", "one_effect"
GOAL = 1 / 1.6
"""What an effect's throughput should at least be, in those of a step, at concurrency 64."""
COMMITS = 2
"""An effect commits its intent and its proof; a step neither."""
_SETTLING = 64


class Holdfast(Engine, Protocol):
    """An engine of ours, with all the workflows of its application."""

    async def run(self, workflow: str, n: int) -> object:
        """Run a workflow on `n`, and give its result."""

    async def effects_stored(self, n: int) -> int:
        """How many effects of workflow `n` the ledger holds as succeeded."""


class Workload:
    """One of the two workflows, as the load generator sees an engine."""

    def __init__(self, engine: Holdfast, workflow: str) -> None:
        self._engine = engine
        self._workflow = workflow
        self.name = engine.name
        self.mode = engine.mode

    async def run_one(self, n: int) -> None:
        """Run the workflow on `n`; it adds one."""
        result = await self._engine.run(self._workflow, n)
        if result != n + 1:
            raise WrongResultError(n, result, n + 1)

    async def steps_stored(self, n: int) -> int:
        """Count what is in the history; an effect counts if the ledger holds it as succeeded too."""
        stored = await self._engine.steps_stored(n)
        return stored if self._workflow == STEP else min(stored, await self._engine.effects_stored(n))

    def processes(self) -> Mapping[str, int]:
        """Give the engine's processes."""
        return self._engine.processes()

    def facts(self) -> Mapping[str, str]:
        """Give the engine's facts."""
        return self._engine.facts()

    async def start(self) -> None:
        """Do nothing: the engine is started once for both."""

    async def stop(self) -> None:
        """Do nothing, either."""


class Row(report.Row):
    """One cell: which workflow, in which round."""

    workload: str
    round: int


class Ratio(TypedDict):
    """One effect against one step; of each figure, the middle one of the rounds."""

    mode: str
    concurrency: int
    throughput_to_step: float
    of_rounds: list[float]
    cpu_to_step: float
    extra_p50_ms: float
    extra_commits: int


def _cpu(row: Row) -> float:
    return sum(row["cpu_s"].values()) / row["workflows"]


def _ratio(pairs: Sequence[tuple[Row, Row]]) -> Ratio:
    """Compare the rounds of one mode and concurrency; a pair is a step and an effect."""
    throughput = [effect["wf_per_s"] / step["wf_per_s"] for step, effect in pairs]
    return Ratio(
        mode=pairs[0][0]["mode"],
        concurrency=pairs[0][0]["concurrency"],
        throughput_to_step=round(statistics.median(throughput), 3),
        of_rounds=[round(one, 3) for one in throughput],
        cpu_to_step=round(statistics.median(_cpu(effect) / _cpu(step) for step, effect in pairs), 3),
        extra_p50_ms=round(statistics.median(effect["p50_ms"] - step["p50_ms"] for step, effect in pairs), 3),
        extra_commits=COMMITS,
    )


def ratios(rows: Sequence[Row]) -> list[Ratio]:
    """Compare effect and step, for each mode and concurrency, round by round."""
    found: dict[tuple[str, int], dict[int, dict[str, Row]]] = {}
    for row in rows:
        found.setdefault((row["mode"], row["concurrency"]), {}).setdefault(row["round"], {})[row["workload"]] = row
    whole = ([(one[STEP], one[EFFECT]) for one in cell.values() if len(one) == 2] for cell in found.values())
    return [_ratio(pairs) for pairs in whole if pairs]


async def measured(mode: str, options: argparse.Namespace, console: Console, rows: list[Row]) -> Mapping[str, str]:
    """Measure one mode into `rows`; gives the engine's facts."""
    workspace = options.workspace / mode
    shutil.rmtree(workspace, ignore_errors=True)
    workspace.mkdir(parents=True)
    engine = MODES[mode](workspace)
    workloads = {name: Workload(engine, name) for name in (STEP, EFFECT)}
    numbers = itertools.count(1)
    console.print(f"[bold]holdfast/{mode}[/] starting", highlight=False)
    try:
        await engine.start()
        for workload in workloads.values():
            await measure(workload, _SETTLING, numbers, warm_up=0, seconds=options.settle, steps=1)
        for concurrency, number in itertools.product(options.concurrency, range(options.rounds)):
            for name in (STEP, EFFECT) if number % 2 == 0 else (EFFECT, STEP):
                cell = await measure(
                    workloads[name], concurrency, numbers, warm_up=options.warm_up, seconds=options.seconds, steps=1
                )
                row = cast("Row", {"workload": name, "round": number + 1, **asdict(cell)})
                rows.append(row)
                console.print(f"  {name:<10} {report.sentence(row)}", highlight=False)
        return engine.facts()
    finally:
        await engine.stop()


async def run(options: argparse.Namespace, console: Console) -> Mapping[str, object]:
    """Measure all modes, one after the other."""
    facts, begun = machine(options.workspace), time.time()
    rows: list[Row] = []
    engines: dict[str, object] = {}
    failures: dict[str, str] = {}
    for mode in options.modes:
        try:
            engines[f"holdfast/{mode}"] = await measured(mode, options, console, rows)
        except Exception as error:  # noqa: BLE001 - whatever it was, it stands in the document, and the exit code is 1
            failures[f"holdfast/{mode}"] = f"{type(error).__name__}: {error}"
    return {
        "measured_at": int(begun),
        "seconds": options.seconds,
        "warm_up": options.warm_up,
        "machine": facts,
        "engines": engines,
        "results": rows,
        "ratios": ratios(rows),
        "goal_at_64": round(GOAL, 3),
        "failures": failures,
    }


def told(document: Mapping[str, object], console: Console) -> None:
    """Print the ratios, then what failed."""
    for ratio in cast("Sequence[Ratio]", document["ratios"]):
        rounds = ", ".join(f"{one:.2f}" for one in ratio["of_rounds"])
        console.print(
            f"holdfast/{ratio['mode']} at {ratio['concurrency']}: one effect has {ratio['throughput_to_step']:.2f} × "
            f"the throughput of one step ({rounds}), {ratio['cpu_to_step']:.2f} × its CPU; "
            f"p50 {ratio['extra_p50_ms']:+.2f} ms for {ratio['extra_commits']} more commits",
            highlight=False,
        )
    console.print(f"the goal at 64 is {document['goal_at_64']}", highlight=False)
    for name, reason in cast("Mapping[str, str]", document["failures"]).items():
        console.print(f"[red]{name} failed:[/] {reason}", highlight=False)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench/effects.py", description="Measure one effect against one step.")
    parser.add_argument("--modes", default=",".join(MODES), help="(default: %(default)s)")
    parser.add_argument("--concurrency", default="1,64", help="clients in a closed loop (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of both workflows (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a window (default: %(default)g)")
    parser.add_argument("--warm-up", type=float, default=1.0, help="before each window (default: %(default)g)")
    parser.add_argument("--settle", type=float, default=20.0, help="before a mode's first (default: %(default)g)")
    parser.add_argument(
        "--workspace", type=Path, default=WORKSPACE, help="data and logs (default: build/bench/effects)"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="the document (default: bench/results/effects.json)")
    options = parser.parse_args()
    options.modes = options.modes.split(",")
    if unknown := set(options.modes) - set(MODES):
        parser.error(f"no such mode: {', '.join(sorted(unknown))}; there are {', '.join(MODES)}")
    options.concurrency = [int(part) for part in options.concurrency.split(",")]
    options.workspace = options.workspace.resolve()
    return options


def main() -> None:
    """Measure, write the document, print the ratios."""
    options, console = arguments(), console_of()
    document = uvloop.run(run(options, console))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=2) + "\n")
    told(document, console)
    console.print(f"written to {options.out}", highlight=False)
    raise SystemExit(1 if document["failures"] else 0)


if __name__ == "__main__":
    main()
