"""Work that has been overdue for an hour is done at its own pace: no flood, nothing twice, and live work beside it."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import ClassVar

from bench.overdue import fill, left
from holdfast.adapters.sqlite import SqliteStore
from holdfast.core.run import COMPLETED
from holdfast.sdk.definitions import step, workflow
from tests.integration.running import DEADLINE, NAMESPACE, SHARDS, Process, install, process

OVERDUE = 20_000
MOST_IN_MEMORY = 1_000
"""Inputs and tasks that may wait at a time, of 20,000."""


class Seen:
    """What the steps of overdue runs saw when they were executed."""

    process: Process | None = None
    executed: ClassVar[Counter[int]] = Counter()
    waiting = 0


@step
async def overdue_step(number: int) -> int:
    Seen.executed[number] += 1
    if Seen.process is not None:
        Seen.waiting = max(Seen.waiting, Seen.process.orchestrator.backlog, Seen.process.worker.backlog)
    return number


@step
async def overdue_fresh_step(number: int) -> int:
    return number


@workflow
async def overdue_run(number: int) -> int:
    return await overdue_step(number)


@workflow
async def overdue_fresh_run(number: int) -> int:
    return await overdue_fresh_step(number)


async def test_20_000_overdue_attempts_are_sent_again_once_each_with_live_work_beside_them(tmp_path: Path) -> None:
    file = tmp_path / "holdfast.db"
    await install(file)
    store = SqliteStore(file)
    await store.open()
    await fill(store, "overdue_run", OVERDUE, shards=SHARDS, namespace=NAMESPACE)

    async with process(file, begin=False) as engine:
        Seen.process = engine
        await engine.begin()
        await engine.start("overdue_fresh_run", "fresh", 7)
        assert await engine.result("fresh") == 7
        assert Seen.executed.total() < OVERDUE / 2, "the fresh run has waited for overdue ones"
        await engine.until(lambda: Seen.executed.total() >= OVERDUE)
        await engine.until_ended(*(f"overdue-{number}" for number in range(0, OVERDUE, 997)))
        async with asyncio.timeout(DEADLINE):
            while await left(store, SHARDS):
                await asyncio.sleep(0.05)
        Seen.process = None

    assert Seen.executed == {1: OVERDUE}
    assert Seen.waiting < MOST_IN_MEMORY
    assert len(await store.runs(status=COMPLETED, limit=2 * OVERDUE)) == OVERDUE + 1
    await store.close()
