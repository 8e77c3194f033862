"""Each hostile workflow, step, effect and value in turn, beside twenty ordinary runs, on both profiles.

The ordinary runs go on as if they were alone; the hostile one ends, or is parked with file, line and remedy; a stop by
SIGTERM drains in its time, whatever runs; and what was parked stays parked when the process comes back.
"""

import asyncio
import os
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from holdfast import Client
from holdfast.client import RunHandle
from holdfast.core.commands import RunOutcome
from holdfast.core.events import RunParked
from holdfast.ports.journal import RunRow
from holdfast.settings import load
from tests.integration.commandline import HOLDFAST, environment
from tests.servers import Servers

APP = str(Path(__file__).with_name("app.py"))
ROOT = Path(__file__).parents[2]
ORDINARY = 20
TURN_LIMIT = 0.25
ALONE = 3
"""How many times as long as alone the ordinary runs may take beside a hostile one."""
DRAIN = 40.0
DEADLINE = 120.0
RESTARTS = 8
"""After so many hostile runs the process is stopped in the middle of one, and started again."""

PARKED, COMPLETED, FAILED = "PARKED", "COMPLETED", "FAILED"
HERE = r"(?s)app\.py:\d+ .*holdfast resume"


class Case(NamedTuple):
    """A hostile workflow, its input, and what must come of it: a status, and words that must be said of it."""

    workflow: str
    status: str
    words: str
    value: Any = None

    @property
    def name(self) -> str:
        return f"{self.workflow}-{self.value}" if self.value is not None else self.workflow


CASES = (
    Case("polls", PARKED, HERE),
    Case("spins", PARKED, HERE),
    Case("backtracks", PARKED, HERE),
    Case("waits_for_a_lock", PARKED, HERE),
    Case("catches_everything", PARKED, HERE),
    Case("raises_from_itself", FAILED, "ValueError"),
    Case("exits", FAILED, "SystemExit"),
    Case("interrupts", FAILED, "KeyboardInterrupt"),
    Case("raises_the_unwilling", FAILED, "Unwilling: .*cannot be told"),
    Case("raises_the_endless", PARKED, HERE),
    Case("raises_the_deep", FAILED, "Deep: 9999"),
    Case("raises_a_long_text", FAILED, "ValueError: xxx"),
    Case("raises_a_group", FAILED, r"Group: all at once.*\n  KeyboardInterrupt.*\n  ValueError: the other"),
    Case("gives_up_in_anyio", COMPLETED, "100"),  # the receipt is at hand, as with asyncio.timeout
    Case("moves_on_in_anyio", COMPLETED, "in time"),
    Case("fails_beside_in_anyio", FAILED, "the other task"),
    Case("exits_in_a_step", FAILED, "SystemExit"),
    Case("exits_in_a_thread", FAILED, "SystemExit"),
    *(
        Case(workflow, FAILED, kind if kind != "group" else "BaseExceptionGroup", kind)
        for workflow in ("raises_in_a_step", "raises_in_a_step_in_a_thread")
        for kind in (
            "KeyboardInterrupt",
            "GeneratorExit",
            "StopIteration",
            "StopAsyncIteration",
            "CancelledError",
            "Unwilling",
            "Deep",
            "Endless",
            "group",
        )
    ),
    Case("blocks", COMPLETED, "late"),
    Case("cancels", FAILED, "CancelledError"),
    Case("exits_in_an_effect", PARKED, "effect_parked"),
    Case("interrupts_in_an_effect", PARKED, "effect_parked"),
    Case("passes_a_function", FAILED, "argument 'value'"),
    Case("returns_half_a_character", FAILED, "half_a_character"),
    Case("returns_a_wrong_type", FAILED, "a_wrong_type"),
    Case("passes_a_set", COMPLETED, "5"),
    Case("reads_a_file", PARKED, HERE),
)


class Server:
    """A serving process, as an operator runs it."""

    def __init__(self, folder: Path, settings: Mapping[str, str], command: str) -> None:
        self._folder = folder
        self._settings = settings
        self._command = command
        self._starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*HOLDFAST, self._command, APP],
                cwd=self._folder,
                env=environment(**self._settings, PYTHONPATH=str(ROOT)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._starts += 1
        async with asyncio.timeout(DEADLINE):
            while self.said.count(": serving workflows") < self._starts:
                assert self._process.poll() is None, self.said
                await asyncio.sleep(0.02)

    async def stop(self) -> float:
        """Stop in good order; gives the seconds that it took."""
        assert self._process is not None
        assert self._process.poll() is None, f"it ended by itself: {self.said}"
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE):
            while self._process.poll() is None:
                await asyncio.sleep(0.02)
        assert self._process.returncode == 0, self.said
        return time.monotonic() - began

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def said(self) -> str:
        return self._log.read_text()

    @property
    def _log(self) -> Path:
        return self._folder / "said.txt"


@asynccontextmanager
async def serving(folder: Path, settings: Mapping[str, str], command: str) -> AsyncIterator[tuple[Server, Client]]:
    settings = {**settings, "HOLDFAST_TURN_LIMIT": str(TURN_LIMIT)}
    server = Server(folder, settings, command)
    try:
        await server.start()
        async with Client(load(environ={**os.environ, **settings}, directory=folder)) as client:
            yield server, client
    finally:
        server.kill()


async def start_ordinary(client: Client, name: str) -> list[RunHandle[Any]]:
    return [await client.start("ordinary", number, id=f"{name}-{number}") for number in range(ORDINARY)]


async def ordinary(client: Client, name: str) -> float:
    """Run the ordinary runs to their ends, which are right; gives the seconds that they took."""
    began = time.monotonic()
    async with asyncio.timeout(DEADLINE):
        results = await asyncio.gather(*(run.result() for run in await start_ordinary(client, name)))
    assert results == [number * 8 for number in range(ORDINARY)]
    return time.monotonic() - began


async def told(client: Client, run: RunHandle[Any]) -> tuple[str, str]:
    """Wait until a run has ended or is parked; gives its status and what is said of it."""
    async with asyncio.timeout(DEADLINE):
        found = await run.outcome(stop_when_parked=True)
    if isinstance(found, RunRow):
        stored = await client.run_client.store.history(run.run_id)
        assert stored is not None
        events = [client.run_client.codec.decode_event(one.type, one.data) for one in stored.history]
        details = [event.detail for event in events if isinstance(event, RunParked)]
        return PARKED, f"{found.parked}: {''.join(details)}"
    assert isinstance(found, RunOutcome)
    if found.error is not None:
        return found.status, f"{found.error.type}: {found.error.message}"
    return found.status, str(await client.value_of(found, None))


async def judge(server: Server, client: Client) -> None:
    alone = await ordinary(client, "alone")
    for number, case in enumerate(CASES, 1):
        run = await client.start(case.workflow, *([] if case.value is None else [case.value]), id=case.name)
        if number % RESTARTS == 0:
            beside = await start_ordinary(client, f"beside-{case.name}")
            assert await server.stop() < DRAIN, case
            await server.start()
            async with asyncio.timeout(DEADLINE):
                await asyncio.gather(*(one.result() for one in beside))
        else:
            took = await ordinary(client, f"beside-{case.name}")
            if took >= ALONE * alone:  # unless it is the machine that has become slower
                alone = max(alone, await ordinary(client, f"alone-after-{case.name}"))
            assert took < ALONE * alone, (case, took, alone, server.said)
        status, words = await told(client, run)
        assert status == case.status, (case, words)
        assert re.search(case.words, words), (case, words)
    assert await server.stop() < DRAIN


@pytest.mark.timeout(600)
async def test_on_one_file(tmp_path: Path) -> None:
    settings = {"HOLDFAST_STORE": f"sqlite:///{tmp_path}/holdfast.db"}
    async with serving(tmp_path, settings, "dev") as (server, client):
        await judge(server, client)


@pytest.mark.timeout(600)
async def test_on_a_cluster(tmp_path: Path, servers: Servers, namespace: str) -> None:
    settings = {**servers.settings, "HOLDFAST_NAMESPACE": namespace, "HOLDFAST_SHARDS": "4"}
    subprocess.run([*HOLDFAST, "install"], cwd=tmp_path, env=environment(**settings), check=True, capture_output=True)
    async with serving(tmp_path, settings, "run") as (server, client):
        await judge(server, client)
