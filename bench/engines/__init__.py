"""What the benchmark asks of an engine, and the catalogue of the engines it knows.

Laws:
- A workflow is three sequential no-op steps, `value + 1` each, and every step is on disk before the next one begins.
- A server, and an engine of several processes, is started in processes of its own; the load generator holds a client.
  A library of one process lives in the load generator's, as in an application that uses it: its clients share its
  processor, and nobody's call crosses a socket that a user's would not.
- `run_one` raises when the result is wrong: a fast wrong answer is not a measurement.
- `steps_stored` reads the engine's own store: an engine that cannot show its three steps there is not measured.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

STEPS = 3


class WrongResultError(Exception):
    """An engine answered, and the answer is not the workflow's."""

    def __init__(self, n: int, result: object, right: int | None = None) -> None:
        super().__init__(f"workflow {n} must end with {right or expected(n)}, the engine said {result!r}")


class Engine(Protocol):
    """One engine in one mode. Made as `factory(workspace)`; `workspace` is an empty folder of its own."""

    name: str
    mode: str

    async def start(self) -> None:
        """Bring up everything, on 127.0.0.1 and free ports; return when the first workflow could be run."""

    async def run_one(self, n: int) -> None:
        """Start workflow `n`, wait for its result, raise WrongResultError if it is not `expected(n)`.

        `n` is unique within one life of the engine; calls overlap at the concurrency that is being measured.
        """

    async def steps_stored(self, n: int) -> int:
        """How many steps of the finished workflow `n` the engine's durable store holds."""

    def processes(self) -> Mapping[str, int]:
        """Name to pid of every other process that works for this engine; children of a pid are counted with it."""

    def facts(self) -> Mapping[str, str]:
        """Versions and the settings that matter to the figures."""

    async def stop(self) -> None:
        """End every process that `start` began, by pid. Safe after a failed start."""


class Factory(Protocol):
    """How the harness makes an engine."""

    def __call__(self, workspace: Path) -> Engine:
        """Make the engine, starting nothing yet."""


@dataclass(frozen=True)
class Entry:
    """Where an engine is found. `ours`: Holdfast. `peer`: ratios are taken against it. The raw limits are neither."""

    engine: str
    mode: str
    factory: str
    ours: bool = False
    peer: bool = False


CATALOGUE = (
    Entry("holdfast", "separate", "bench.engines.holdfast:Separate", ours=True),
    Entry("holdfast", "local", "bench.engines.holdfast:Local", ours=True),
    Entry("holdfast", "embedded", "bench.engines.holdfast:Embedded", ours=True),
    Entry("dbos", "postgres", "bench.engines.dbos:OnPostgres", peer=True),
    Entry("dbos", "sqlite", "bench.engines.dbos:OnSqlite", peer=True),
    Entry("restate", "server", "bench.engines.restate:Restate", peer=True),
    Entry("raw", "cluster", "bench.engines.raw:Cluster"),
    Entry("raw", "embedded", "bench.engines.raw:Embedded"),
)


def expected(n: int) -> int:
    """Give the one right result of workflow `n`."""
    return n + STEPS


def load(entry: Entry) -> Factory:
    """Import an engine only when it is measured: a missing peer does not stop the others."""
    module, _, name = entry.factory.partition(":")
    return cast("Factory", getattr(importlib.import_module(module), name))
