"""Simulate worlds: `python -m tests.simulation --seeds 20000`; writes build/report/simulation.json.

A seed that breaks a law is shrunk, and told with the command that plays it again: `--seed N --trace`.
"""

import argparse
import gc
import logging
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b

import msgspec

from examples.demo.view import write_report
from tests.simulation.faults import Place, Plan
from tests.simulation.shrink import shrink
from tests.simulation.world import Verdict, simulate

CHUNK = 20
CHUNKS_A_CHILD = 10
LAST_LINES = 120
MOST_TOLD = 5


class Report(msgspec.Struct):
    """What many worlds came to."""

    seeds: int = 0
    faults: int = 0
    events: int = 0
    faults_by_kind: Counter[str] = msgspec.field(default_factory=Counter)
    violations: list[dict[str, object]] = []
    seconds: float = 0.0


def main() -> int:
    given = _arguments()
    logging.disable(logging.CRITICAL)
    if given.seed is not None:
        return play(given.seed, given.only, traced=given.trace)
    seeds = range(given.start, given.start + given.seeds)
    if given.digest:
        print(digest(seeds))
        return 0
    report = run(seeds, given.jobs)
    print(f"report: {write_report('simulation', msgspec.to_builtins(report))}")
    kinds = ", ".join(f"{kind} {count}" for kind, count in report.faults_by_kind.most_common())
    print(f"{report.seeds} seeds, {report.events} events, {report.faults} faults ({kinds}), {report.seconds:.0f} s")
    print(f"{len(report.violations)} seeds broke a law")
    return 1 if report.violations else 0


def run(seeds: range, jobs: int) -> Report:
    """Simulate all seeds, on all cores."""
    report = Report()
    began = time.monotonic()
    failed: list[int] = []
    gc.freeze()  # what is imported by now is not the business of the children's collectors
    # Worlds leave cycles of objects behind; a child that had many of them would spend its time on collecting them.
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=CHUNKS_A_CHILD) as pool:
        chunks = [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]
        for part in pool.imap_unordered(_chunk, chunks):
            report.seeds += part.seeds
            report.faults += part.faults
            report.events += part.events
            report.faults_by_kind += part.faults_by_kind
            report.violations += part.violations
            for broken in part.violations:
                failed.append(int(str(broken["seed"])))
                if len(failed) <= MOST_TOLD:
                    print(f"seed {broken['seed']}: {broken['law']}: {broken['text']}", flush=True)
    report.seconds = round(time.monotonic() - began, 1)
    for seed in sorted(failed)[:1]:
        tell(simulate(seed))
    return report


def _chunk(seeds: range) -> Report:
    report = Report()
    gc.disable()
    for seed in seeds:
        found = simulate(seed)
        report.seeds += 1
        report.faults += len(found.injected)
        report.events += found.events
        report.faults_by_kind.update(fault.kind for fault in found.injected.values())
        report.violations += [
            {"seed": seed, "law": one.law, "text": one.text, "at": one.at} for one in found.violations[:1]
        ]
    gc.collect()
    return report


def digest(seeds: range) -> str:
    """Hash all that happens in these worlds: the same in every process, whatever its hash seed and its heap."""
    seen = blake2b(digest_size=16)
    for seed in seeds:
        seen.update("\n".join(simulate(seed, traced=True).trace).encode())
    return seen.hexdigest()


def play(seed: int, only: str | None, *, traced: bool) -> int:
    """Play one world again; `only` names the faults that are left in."""
    found = simulate(seed, traced=traced)
    if only is not None:
        places = set(_places(only))
        plan = {place: fault for place, fault in found.injected.items() if place in places}
        found = simulate(seed, plan, traced=traced)
    for line in found.trace:
        print(line)
    print(f"seed {seed}: {len(found.injected)} faults, {found.events} events, {found.seconds:.1f} s of virtual time")
    if found.violations and only is None:
        tell(found)
    for one in found.violations:
        print(f"broken: {one.law}: {one.text}")
    return 1 if found.violations else 0


def tell(found: Verdict) -> None:
    """Say how a failing seed is played again, with as few faults as it takes."""
    command = f"python -m tests.simulation --seed {found.seed} --trace"
    small = shrink(found)
    print(f"\nseed {found.seed} breaks a law with {len(small)} of its {len(found.injected)} faults:")
    for (channel, number), fault in small.items():
        print(f"  {channel} at point {number}: {fault.kind} (how {fault.how:.2f}, whom {fault.whom:.2f})")
    for line in simulate(found.seed, small, traced=True).trace[-LAST_LINES:]:
        print(line)
    print(f"replay all of it:    {command}")
    print(f"replay what it takes: {command} --only '{_named(small)}'", flush=True)


def _named(plan: Plan) -> str:
    return ",".join(f"{channel}:{number}" for channel, number in plan)


def _places(text: str) -> Iterator[Place]:
    for one in filter(None, text.split(",")):
        channel, _, number = one.rpartition(":")
        yield channel, int(number)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--seeds", type=int, default=20_000, help="how many worlds (default 20000)")
    parser.add_argument("--from", type=int, default=0, dest="start", metavar="N", help="the first seed (default 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    parser.add_argument("--seed", type=int, help="play just this one")
    parser.add_argument("--digest", action="store_true", help="print a hash of all that happens, and no report")
    parser.add_argument("--trace", action="store_true", help="with --seed: print all that happens")
    parser.add_argument("--only", metavar="FAULTS", help="with --seed: leave in only these faults (channel:point,…)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
