"""Holdfast and its peers side by side, in one run on one machine. See bench/README.md.

Each engine and mode is measured alone, by a fresh load generator (bench.load) that starts and ends it. An engine that
fails is reported, never left out silently: the exit code is 1, and the reason stands in the document.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

if __package__ in {None, ""}:  # started as a file: `python bench/run.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from rich.console import Console

from bench import processes, report
from bench.engines import CATALOGUE, Entry
from bench.launch import ROOT

RESULTS = ROOT / "bench" / "results" / "latest.json"
WORKSPACE = ROOT / "build" / "bench" / "run"
_WIDTH = 150
"""Columns where nobody looks: a pipe or a file."""
_STARTING = 300.0
"""Seconds an engine may take beyond its measured windows: installing, starting, ending."""


@dataclass
class Measured:
    """What one engine and mode gave."""

    rows: list[report.Row] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    failure: str | None = None


def chosen(wanted: Sequence[str]) -> list[Entry]:
    """Give the catalogue's entries for `holdfast`, or for one mode, `holdfast/local`."""
    known = {entry.engine for entry in CATALOGUE} | {f"{entry.engine}/{entry.mode}" for entry in CATALOGUE}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise SystemExit(f"no such engine: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return [entry for entry in CATALOGUE if {entry.engine, f"{entry.engine}/{entry.mode}"} & set(wanted)]


async def measure(entry: Entry, options: argparse.Namespace, console: Console) -> Measured:
    """Run the load generator for one engine, telling of each cell as it comes."""
    workspace = options.workspace / f"{entry.engine}-{entry.mode}"
    shutil.rmtree(workspace, ignore_errors=True)
    workspace.mkdir(parents=True)
    told, log = workspace / "told.jsonl", workspace / "load.log"
    told.touch()
    console.print(f"[bold]{entry.engine}/{entry.mode}[/] starting", highlight=False)
    command = (
        sys.executable, "-m", "bench.load", entry.engine, entry.mode,
        "--concurrency", ",".join(map(str, options.concurrency)),
        "--seconds", str(options.seconds), "--warm-up", str(options.warm_up), "--settle", str(options.settle),
        "--workspace", workspace, "--out", told,
    )  # fmt: skip
    generator = await processes.spawn(command, log=log, cwd=ROOT)
    allowed = _STARTING + options.settle * 3 + len(options.concurrency) * (options.seconds + options.warm_up) * 3
    allowed += len(options.concurrency) * _STARTING / 2
    try:
        failed = await asyncio.wait_for(_follow(generator, told, console), allowed)
    except TimeoutError:
        failed = True
        with log.open("a") as more:
            more.write(f"gave up after {allowed:g} s\n")
    finally:
        await processes.end(generator, patience=30)
    measured = _read(told)
    if failed:
        measured.failure = (processes.tail(log).strip().splitlines() or ["it said nothing"])[-1]
        console.print(f"  [red]failed:[/] {measured.failure}\n  logs in {workspace}", highlight=False)
    return measured


async def _follow(generator: asyncio.subprocess.Process, told: Path, console: Console) -> bool:
    with told.open() as lines:
        while True:
            ended = generator.returncode is not None
            for line in lines:
                message = json.loads(line)
                if message["kind"] == "row":
                    console.print(f"  {report.sentence(message['content'])}", highlight=False)
            if ended:
                return generator.returncode != 0
            try:
                await asyncio.wait_for(generator.wait(), 0.5)
            except TimeoutError:
                continue


def _read(told: Path) -> Measured:
    measured = Measured()
    for line in told.read_text().splitlines():
        message = json.loads(line)
        if message["kind"] == "row":
            measured.rows.append(message["content"])
        else:
            measured.facts = message["content"]
    return measured


def machine(folder: Path) -> dict[str, object]:
    """Say on what it was measured, the disk's durable write included."""
    folder.mkdir(parents=True, exist_ok=True)
    durable_write = processes.fsync_latency(folder)
    return {
        "cores": os.cpu_count(),
        "cpu": next(iter(_cpu_names()), platform.machine()),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "fdatasync_p50_ms": round(durable_write[len(durable_write) // 2], 3),
        "fdatasync_p99_ms": round(durable_write[int(len(durable_write) * 0.99)], 3),
    }


def _cpu_names() -> Iterable[str]:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            yield line.partition(":")[2].strip()


async def run(options: argparse.Namespace, console: Console) -> Mapping[str, object]:
    """Measure everything that was asked for, one after the other."""
    facts: dict[str, object] = machine(options.workspace)
    console.print(
        f"{facts['cores']} cores, Python {facts['python']}, durable write {facts['fdatasync_p50_ms']} ms (p50); "
        f"{options.seconds:g} s a cell after {options.warm_up:g} s of warm-up, {options.settle:g} s before the first",
        highlight=False,
    )
    rows: list[report.Row] = []
    versions: dict[str, object] = {}
    failures: dict[str, str] = {}
    begun = time.time()
    for entry in options.engines:
        measured = await measure(entry, options, console)
        rows += measured.rows
        versions[f"{entry.engine}/{entry.mode}"] = measured.facts
        if measured.failure is not None:
            failures[f"{entry.engine}/{entry.mode}"] = measured.failure
    return {
        "measured_at": int(begun),
        "quick": options.quick,
        "seconds": options.seconds,
        "warm_up": options.warm_up,
        "settle": options.settle,
        "machine": facts,
        "engines": versions,
        "results": rows,
        "ratios": report.ratios(rows),
        "failures": failures,
    }


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="bench/run.py",
        description="Measure Holdfast and its peers: three sequential no-op steps, each durable before the next.",
        epilog=f"Engines and modes: {', '.join(f'{entry.engine}/{entry.mode}' for entry in CATALOGUE)}.",
    )
    parser.add_argument(
        "--engines", default="holdfast,dbos,restate,raw", help="names, or name/mode (default: %(default)s)"
    )
    parser.add_argument("--concurrency", default="1,16,64,256", help="clients in a closed loop (default: %(default)s)")
    parser.add_argument("--seconds", type=float, help="length of a measured window (default: 10; quick: 3)")
    parser.add_argument("--warm-up", type=float, help="seconds before each window (default: 3; quick: 1)")
    parser.add_argument("--settle", type=float, help="seconds at 64 before all windows (default: 30; quick: 2)")
    parser.add_argument("--quick", action="store_true", help="short windows: does it work, not how fast is it")
    parser.add_argument("--workspace", type=Path, default=WORKSPACE, help="data and logs (default: build/bench/run)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the document (default: bench/results/latest.json)")
    options = parser.parse_args()
    options.engines = chosen(options.engines.split(","))
    options.concurrency = [int(part) for part in options.concurrency.split(",")]
    options.seconds = options.seconds or (3.0 if options.quick else 10.0)
    options.warm_up = options.warm_up if options.warm_up is not None else (1.0 if options.quick else 3.0)
    options.settle = options.settle if options.settle is not None else (2.0 if options.quick else 30.0)
    options.workspace = options.workspace.resolve()
    return options


def console_of() -> Console:
    """Give a console that is wide enough where nobody looks."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH)


def main() -> None:
    """Measure, write the document, print the table."""
    options, console = arguments(), console_of()
    document = asyncio.run(run(options, console))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=2) + "\n")
    report.print_tables(document, console)
    console.print(f"written to {options.out}", highlight=False)
    raise SystemExit(1 if document["failures"] else 0)


if __name__ == "__main__":
    main()
