"""Two releases side by side, on real Kafka, PostgreSQL and Redis, under load: forth and back, and nothing is lost."""

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from holdfast import Client
from holdfast.core.run import COMPLETED
from holdfast.ports.topics import Topics
from holdfast.settings import Settings
from tests.chaos import next_release
from tests.integration.commandline import HOLDFAST, done, environment, holdfast
from tests.servers import Servers

pytestmark = [pytest.mark.servers, pytest.mark.chaos, pytest.mark.alone, pytest.mark.timeout(300)]

APP = """
from holdfast import signal, step, workflow


@step
async def pack(name: str, number: int) -> int:
    return number + 1


@workflow
async def labelled(number: int) -> int:
    return await pack("label", number)


@workflow
async def upgraded_parcel(number: int) -> list[int]:
    seen = [await pack("first", number)]
    seen.append(await signal("go", int))
    seen.append(await labelled(number))
    seen.append(await signal("go", int))
    seen.append(await pack("last", number))
    return seen
"""
EACH = 12
"""Runs that begin while a set of processes is there."""
DEADLINE = 40.0


class Load:
    """Runs that are begun all the time; each is sent its two signals in different times of the upgrade."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.begun: list[str] = []
        self.signalled: dict[str, int] = {}

    async def some(self) -> None:
        """Begin runs, and send those that are there one signal more."""
        for run in self.begun:
            await self.tell(run)
        for _ in range(EACH):
            number = len(self.begun)
            run = f"parcel-{number}"
            self.begun.append(run)
            await self.client.start("upgraded_parcel", number, id=run)
            if number % 2:
                await self.tell(run)

    async def tell(self, run: str) -> None:
        told = self.signalled.get(run, 0)
        if told < 2:
            self.signalled[run] = told + 1
            await self.client.signal(run, "go", told, message_id=f"{run}/{told}")

    async def finish(self) -> None:
        for run in self.begun:
            while self.signalled.get(run, 0) < 2:
                await self.tell(run)

    def result(self, run: str) -> list[int]:
        number = int(run.removeprefix("parcel-"))
        return [number + 1, 0, number + 1, 1, number + 1]


class Service:
    """A process that is orchestrator and worker, of one of the releases."""

    def __init__(self, folder: Path, name: str, settings: Mapping[str, str]) -> None:
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*HOLDFAST, "run", "app.py"],
                cwd=folder,
                env=environment(**settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def said(self) -> str:
        return self._log.read_text()

    async def until(self, words: str) -> None:
        async with asyncio.timeout(DEADLINE):
            while words not in self.said:
                assert self.process.poll() is None, self.said
                await asyncio.sleep(0.05)

    async def leave(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(self.process.wait, DEADLINE) == 0, self.said

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@asynccontextmanager
async def world(folder: Path, settings: dict[str, str]) -> AsyncIterator[Load]:
    (folder / "app.py").write_text(APP)
    done(folder, "install", **settings)
    async with Client(
        Settings(
            namespace=settings["HOLDFAST_NAMESPACE"],
            store=settings["HOLDFAST_STORE"],
            log=settings["HOLDFAST_LOG"],
            keys=settings["HOLDFAST_KEYS"],
        )
    ) as client:
        yield Load(client)


async def test_an_upgrade_forth_and_back_under_load_loses_parks_and_refuses_nothing(
    tmp_path: Path, servers: Servers, namespace: str
) -> None:
    older = {**servers.settings, "HOLDFAST_NAMESPACE": namespace, "HOLDFAST_SHARDS": "4"}
    newer = {**older, "PYTHONPATH": str(next_release.make(tmp_path / "next"))}
    services: list[Service] = []

    async def joined(name: str, settings: dict[str, str]) -> Service:
        services.append(Service(tmp_path, name, settings))
        await services[-1].until(": serving ")
        return services[-1]

    try:
        async with world(tmp_path, older) as load:
            first = await joined("older", older)
            await load.some()
            upgraded = await joined("newer", newer)  # N, then N+1 joins
            await load.some()
            await first.leave()  # N leaves
            await load.some()
            again = await joined("older again", older)  # N+1, then N
            await load.some()
            await upgraded.leave()  # back to N: what N+1 has begun waits
            await load.some()
            await again.until("waits for a newer release")
            last = await joined("newer again", newer)
            await load.some()
            await again.leave()  # N leaves for good
            await load.finish()
            for run in load.begun:
                assert await asyncio.wait_for(load.client.run(run).result(), DEADLINE) == load.result(run)
            await assert_nothing_is_left(load.client, tmp_path, older)
            await last.leave()
    finally:
        for one in services:
            one.kill()


async def assert_nothing_is_left(client: Client, folder: Path, settings: dict[str, str]) -> None:
    """All runs completed, children too; nothing waits, and there is no dead letter."""
    listed = [json.loads(line) for line in done(folder, "list", "--json", **settings).splitlines()]
    assert {run["status"] for run in listed} == {COMPLETED}
    async with asyncio.timeout(DEADLINE):
        while await client.profile.deferred.waiting(10):
            await asyncio.sleep(0.1)
    tail = await client.profile.log.tail(Topics(settings["HOLDFAST_NAMESPACE"]).dlq, earliest=True)
    await tail.watch([0])
    assert await tail.poll(1.0, 10) == []
    await tail.close()
    assert "no run waits for a newer release" in holdfast(folder, "doctor", **settings).stdout
