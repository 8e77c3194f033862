"""A client in the process of its engine, which waits in memory for the end of runs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from holdfast import Client, signal, workflow
from holdfast.app.orchestrator.waiters import Waiters
from holdfast.settings import Settings
from tests.integration.bus import serving
from tests.integration.running import DEADLINE


@workflow(name="in_memory_until_told")
async def until_told(name: str) -> str:
    return f"{name}: {await signal('go', str)}"


class Near(NamedTuple):
    client: Client
    waiters: Waiters


@pytest.fixture
async def near(tmp_path: Path) -> AsyncIterator[Near]:
    settings = Settings(store=f"sqlite:///{tmp_path / 'holdfast.db'}")
    async with serving(settings) as engine, Client(settings, engine=engine) as client:
        assert engine.orchestrator is not None
        yield Near(client, engine.orchestrator.waiters)


async def test_nothing_stays_of_a_run_that_had_ended_when_it_was_started_again(near: Near) -> None:
    run = await near.client.start(until_told, "r", id="r")
    await near.client.signal("r", "go", "yes")
    async with asyncio.timeout(DEADLINE):
        assert await run.result() == "r: yes"

        again = await near.client.start(until_told, "r", id="r")

        assert await again.result() == "r: yes"
    assert len(near.waiters) == 0


async def test_who_waits_is_not_left_waiting_when_the_shard_of_the_run_is_lost(near: Near) -> None:
    run = await near.client.start(until_told, "r", id="r")
    waits = asyncio.create_task(run.result())
    await asyncio.sleep(0)

    near.waiters.let_go(lambda _: True)
    await near.client.signal("r", "go", "yes")

    async with asyncio.timeout(DEADLINE):
        assert await waits == "r: yes"


async def test_who_gave_up_waiting_may_ask_again(near: Near) -> None:
    run = await near.client.start(until_told, "r", id="r")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(run.result(), 0)
    first = asyncio.create_task(run.result())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)

    await near.client.signal("r", "go", "yes")

    async with asyncio.timeout(DEADLINE):
        assert await run.result() == "r: yes"
