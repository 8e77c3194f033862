"""What the sweeper finds, in which order, and that nothing it meets stands in the way of the rest."""

import asyncio
from pathlib import Path

import pytest

from holdfast.app.orchestrator import sweeper
from holdfast.app.orchestrator.attempt_scan import AttemptScan
from holdfast.app.orchestrator.sweeper import ask_for
from holdfast.core import events as e
from holdfast.core.commands import AttemptStep, FailStep, FireTimer, ParkRun, ResumeRun, TerminateRun
from holdfast.core.identity import shard_of
from holdfast.core.retry import Failure
from holdfast.core.run import PARKED, TERMINATED
from holdfast.ports.journal import Committed, ShardBatch
from holdfast.ports.store import Store
from holdfast.ports.timers import AttemptRow, TimerRow
from holdfast.sdk.definitions import Retry, step, workflow
from tests.integration.running import SHARDS, assert_nothing_open, events_of, process, start

PARK = ParkRun(reason="by_hand", detail="a person wants to look at it first")
HOUR = 3600.0
MICROS = 1_000_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "holdfast.db"


@step(queue="elsewhere", retry=Retry(attempts=3, initial=HOUR, maximum=HOUR))
async def sweep_far(number: int) -> int:
    return number


@workflow
async def sweep_nap(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "rested"


@workflow
async def sweep_both(seconds: float) -> str:
    far = asyncio.create_task(sweep_far(1))
    await asyncio.sleep(seconds)
    far.cancel()
    return "rested"


async def timers_of(store: Store) -> list[TimerRow]:
    return list(await store.due_timers(range(SHARDS), 2**62, 1_000))


async def test_a_parked_run_leaves_no_timer_in_the_store_and_a_resumed_one_has_it_again(file: Path) -> None:
    async with process(file) as engine:
        await engine.submit("r", start("sweep_both", HOUR))
        await engine.submit("r", FailStep(step_id="sweep_far#1", attempt=1, error=Failure("OSError", "x")))
        before = await timers_of(engine.store)
        assert sorted(row.timer_id for row in before) == ["retry:2:sweep_far#1", "timer#1"]

        await engine.submit("r", PARK)
        assert await timers_of(engine.store) == []

        await engine.submit("r", ResumeRun(by="ada"))
        assert await timers_of(engine.store) == before


async def test_what_a_parked_run_records_sets_no_timer_before_it_is_resumed(file: Path) -> None:
    async with process(file) as engine:
        await engine.submit("r", start("sweep_both", HOUR))
        await engine.submit("r", PARK)
        await engine.submit("r", FailStep(step_id="sweep_far#1", attempt=1, error=Failure("OSError", "x")))
        assert "StepRetried" in await engine.kinds("r")
        assert await timers_of(engine.store) == []

        await engine.submit("r", ResumeRun(by="ada"))
        assert len(await timers_of(engine.store)) == 2


async def test_a_timer_that_was_due_while_its_run_was_parked_fires_when_it_is_resumed(file: Path) -> None:
    async with process(file) as engine:
        await engine.submit("r", start("sweep_nap", 0.05))
        await engine.submit("r", PARK)
        await engine.submit("r", ResumeRun(by="ada"))
        assert await engine.result("r") == "rested"
        await assert_nothing_open(engine.store)


async def test_a_parked_run_that_is_terminated_leaves_nothing(file: Path) -> None:
    async with process(file) as engine:
        await engine.submit("r", start("sweep_both", HOUR))
        await engine.submit("r", PARK)
        await engine.submit("r", TerminateRun(reason="enough"))
        await engine.until_status("r", TERMINATED)
        await assert_nothing_open(engine.store)


async def test_more_parked_runs_than_a_scan_takes_do_not_hold_up_the_timer_of_another(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parked = [f"p{number}" for number in range(7)]
    async with process(file) as engine:
        for run_id in parked:
            await engine.submit(run_id, start("sweep_nap", 0.2))
            await engine.submit(run_id, PARK)
        await engine.submit("other", start("sweep_nap", 0.5))
    monkeypatch.setattr(sweeper, "TIMER_LIMIT", 3)
    async with process(file, "p2") as engine:
        assert await engine.result("other") == "rested"
        for run_id in parked:
            assert (await engine.until_status(run_id, PARKED)).row.parked == PARK.reason


@pytest.mark.parametrize("command", [FireTimer(timer_id="timer#1"), AttemptStep(step_id="sweep_far#1", attempt=2)])
async def test_a_timer_that_an_older_version_left_of_a_parked_run_is_taken_off_when_it_is_met(
    file: Path, command: FireTimer | AttemptStep
) -> None:
    shard = shard_of("r", SHARDS)
    async with process(file) as engine:
        await engine.submit("r", start("sweep_both", HOUR))
        await engine.submit("r", FailStep(step_id="sweep_far#1", attempt=1, error=Failure("OSError", "x")))
        await engine.submit("r", PARK)
    async with process(file, "p2", begin=False) as engine:
        row = (await engine.store.take([shard], "older"))[shard]
        left = [TimerRow("r", 0, name, shard, MICROS) for name in ("timer#1", "retry:2:sweep_far#1")]
        batch = ShardBatch(row.epoch, row.last_batch + 1, row.published, timers_set=left)
        assert await engine.store.commit({shard: batch}) == Committed()
        await engine.begin()
        await engine.submit("r", command)
        async with asyncio.timeout(30):
            while await timers_of(engine.store):
                await asyncio.sleep(0.01)
        stored = await engine.until_status("r", PARKED)
        assert not any(isinstance(event, (e.TimerFired, e.StepAttempted)) for event in events_of(stored))
        await engine.submit("r", ResumeRun(by="ada"))
        assert {row.timer_id for row in await timers_of(engine.store)} == {"timer#1", "retry:2:sweep_far#1"}


async def open_attempts(store: Store) -> list[AttemptRow]:
    return list((await store.open_attempts(range(SHARDS), 2**62, 1_000)).rows)


async def test_an_attempt_that_two_scans_found_is_sent_again_once(file: Path) -> None:
    async with process(file) as engine:
        await engine.submit("r", start("sweep_both", HOUR))
        (row,) = await open_attempts(engine.store)

        engine.find([ask_for(row, due=True), ask_for(row)])
        await engine.submit("one behind it", start("sweep_nap", 0))
        (again,) = await open_attempts(engine.store)
        assert again.resends == 1

        engine.find([ask_for(row, due=True)])
        await engine.submit("another behind it", start("sweep_nap", 0))
        assert await open_attempts(engine.store) == [again]


async def test_a_scan_that_the_store_broke_off_passes_nothing_over(file: Path) -> None:
    async with process(file) as engine:
        for number in range(5):
            await engine.submit(f"r{number}", start("sweep_both", HOUR))
        scan = AttemptScan(engine.store, range(SHARDS), page=2)
        found: list[str] = []
        while not scan.is_over:
            rows = await scan.page()
            if not found:
                assert await scan.page() == rows  # what it found was not heard
            found += [row.run_id for row in rows]
            scan.turn()
        assert sorted(found) == [f"r{number}" for number in range(5)]
