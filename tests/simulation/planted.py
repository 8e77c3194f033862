"""Planted bugs: each is put into the engine, and must break a law within its seeds.

`python -m tests.simulation.planted` hunts them all and writes build/report/planted.json.

Laws of this file:
- A bug is a patch in planted.toml: the text `old` of a file, which must stand there exactly once, becomes `new`.
- The tree is never touched: a fresh process imports the patched source.
- What is caught is told with its seed, so that whoever weakens the simulation sees which eye went blind.
"""

import argparse
import gc
import importlib
import logging
import multiprocessing
import multiprocessing.connection
import os
import sys
import time
import tomllib
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
SOURCE = ROOT / "src" / "holdfast"
SEEDS = 600
HEAVY = ("aiokafka", "avro", "fastavro", "msgspec", "psycopg", "redis", "aiohttp", "aiokafka.coordinator.protocol")
"""What the engine loads and no bug is planted in: loaded once, before the hunts."""


class Bug(NamedTuple):
    """A patch."""

    name: str
    file: str
    old: str
    new: str
    seeds: int = SEEDS

    @property
    def module(self) -> str:
        return "holdfast." + self.file.removesuffix(".py").replace("/", ".")

    def applied(self, source: str) -> str:
        """Patch a module.

        Raises:
            LookupError: the text is not there, or more than once: the bug has to be brought up to date.
        """
        count = source.count(self.old)
        if count != 1:
            raise LookupError(f"bug {self.name!r}: its text stands {count} times in {self.file}, not once: renew it")
        return source.replace(self.old, self.new)


class Caught(NamedTuple):
    """How a bug came out; `seed` is None if it was not caught."""

    name: str
    seed: int | None
    law: str = ""
    text: str = ""


def bugs() -> list[Bug]:
    """Read all bugs."""
    return [Bug(**one) for one in tomllib.loads((FOLDER / "planted.toml").read_text())["bug"]]


class Patching(MetaPathFinder):
    """Imports one module with a bug in it."""

    def __init__(self, bug: Bug) -> None:
        self._bug = bug

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._bug.module:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.origin is not None:
            spec.loader = Patched(fullname, spec.origin, self._bug)
        return spec


class Patched(SourceFileLoader):
    """Compiles a module from its patched source."""

    def __init__(self, fullname: str, path: str, bug: Bug) -> None:
        super().__init__(fullname, path)
        self._bug = bug

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path).decode()
        return compile(self._bug.applied(source), self.path, "exec", dont_inherit=True)


def hunt(bug: Bug, answer: Connection) -> None:
    """Simulate worlds with a bug in them until one breaks a law; in a process of its own."""
    loaded = [name for name in sys.modules if name.startswith("holdfast")]
    assert not loaded, f"the engine was loaded before the bug was planted: {loaded}"
    logging.disable(logging.CRITICAL)
    sys.meta_path.insert(0, Patching(bug))
    simulate: Any = importlib.import_module("tests.simulation.world").simulate
    for seed in range(bug.seeds):
        found = simulate(seed)
        if found.violations:
            first = found.violations[0]
            answer.send(Caught(bug.name, seed, first.law, first.text))
            os._exit(0)  # whatever a buggy engine has left behind
        if not seed % 20:
            gc.collect()
    answer.send(Caught(bug.name, None))
    os._exit(0)


class Hunt:
    """One process at its hunt."""

    def __init__(self, bug: Bug) -> None:
        self.bug = bug
        context = multiprocessing.get_context("fork")
        self.answer, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=hunt, args=(bug, theirs))
        self._process.start()
        theirs.close()

    def end(self) -> Caught:
        try:
            caught: Caught = self.answer.recv()
        except EOFError:
            caught = Caught(self.bug.name, None, text="its process ended without a word")
        self._process.join()
        return caught


def hunt_all(wanted: Sequence[Bug], jobs: int) -> list[Caught]:
    """Hunt on all cores."""
    for bug in wanted:
        bug.applied((SOURCE / bug.file).read_text())
    for name in HEAVY:
        importlib.import_module(name)
    waiting, hunts, caught = list(reversed(wanted)), list[Hunt](), list[Caught]()
    while waiting or hunts:
        while waiting and len(hunts) < jobs:
            hunts.append(Hunt(waiting.pop()))
        ready: Any = multiprocessing.connection.wait([one.answer for one in hunts])
        for one in [one for one in hunts if one.answer in ready]:
            hunts.remove(one)
            caught.append(one.end())
            print(line(caught[-1]), flush=True)
    return sorted(caught)


def line(caught: Caught) -> str:
    if caught.seed is None:
        return f"NOT CAUGHT  {caught.name} {caught.text}"
    return f"seed {caught.seed:4}  {caught.name}: {caught.law}: {caught.text[:140]}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.planted", description="Hunt the planted bugs.")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="just these bugs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    given = parser.parse_args()
    wanted = [bug for bug in bugs() if not given.only or bug.name in given.only]
    began = time.monotonic()
    caught = hunt_all(wanted, given.jobs)
    by = {one.name: one.seed for one in caught if one.seed is not None}
    seconds = round(time.monotonic() - began, 1)
    report = {"planted": len(wanted), "caught": len(by), "seconds": seconds, "by": by}
    path = importlib.import_module("examples.demo.view").write_report("planted", report)
    print(f"report: {path}\n{len(by)} of {len(wanted)} bugs caught in {seconds:.0f} s")
    return 0 if len(by) == len(wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
