"""Deaths in separate processes over Kafka and PostgreSQL: counted by the same records and the same table."""

import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.commandline import holdfast
from tests.integration.supervised import supervised
from tests.servers import Servers

pytestmark = [pytest.mark.servers, pytest.mark.timeout(400)]

APP = """
import os
from holdfast import signal, step, workflow


@step
async def add(one: int, other: int) -> int:
    return one + other


@step
async def die() -> None:
    os._exit(7)


@workflow
async def total() -> int:
    return await add(1, 2)


@workflow
async def dies_in_a_worker() -> None:
    await die()


@workflow
async def dies_in_an_orchestrator() -> None:
    await add(1, 2)
    os._exit(8)
"""
LONG = 180.0


def repeated(folder: Path, settings: dict[str, str], *arguments: str) -> None:
    """Run a command until it succeeds: servers that have just begun are slow."""
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired):
            if holdfast(folder, *arguments, **settings).returncode == 0:
                return
    raise AssertionError(f"holdfast {' '.join(arguments)} did not succeed")


def start(folder: Path, workflow: str, run: str, settings: dict[str, str]) -> None:
    repeated(folder, settings, "start", workflow, "--id", run)


def test_a_worker_and_an_orchestrator_outlive_what_killed_them_and_its_runs_are_parked(
    tmp_path: Path, servers: Servers, namespace: str
) -> None:
    (tmp_path / "app.py").write_text(APP)
    settings = {**servers.settings, "HOLDFAST_NAMESPACE": namespace, "HOLDFAST_SHARDS": "4"}
    repeated(tmp_path, settings, "install")
    with (
        supervised(tmp_path, "orchestrator", "app.py", **settings) as orchestrator,
        supervised(tmp_path, "worker", "app.py", **settings) as worker,
    ):
        for run in ("dies_in_a_worker", "dies_in_an_orchestrator", "total"):
            start(tmp_path, run, run, settings)

        def both(run: str, status: str) -> str:
            def is_so() -> bool:
                worker.look()
                return orchestrator.status(run) == status

            orchestrator.until(is_so, LONG)
            return str(orchestrator.until_status(run, status)["parked"])

        assert both("dies_in_an_orchestrator", "PARKED").startswith("process_died: 2 processes died")
        assert "exit code 7" in both("dies_in_a_worker", "PARKED")
        both("total", "COMPLETED")
        assert orchestrator.deaths == [8, 8]
        assert worker.deaths == [7, 7, 7]
        start(tmp_path, "total", "later", settings)
        both("later", "COMPLETED")
