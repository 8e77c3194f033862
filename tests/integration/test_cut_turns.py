"""A run of very many steps: its turns are cut over several commits, and go on wherever the run is then."""

import asyncio
from pathlib import Path

import pytest

from holdfast.core import events as e
from holdfast.core.behind import PART
from holdfast.core.commands import CancelRun
from holdfast.core.run import CANCELLED
from holdfast.sdk.definitions import step, workflow
from tests.integration.running import assert_nothing_open, assert_whole, events_of, process

pytestmark = pytest.mark.timeout(120)

MANY = 3 * PART


@step
async def cut_add(number: int) -> int:
    return number + 1


@workflow
async def cut_fan(steps: int) -> int:
    return sum(await asyncio.gather(*(cut_add(number) for number in range(steps))))


@workflow
async def cut_twice(steps: int) -> int:
    first = await asyncio.gather(*(cut_add(number) for number in range(steps)))
    return sum(await asyncio.gather(*(cut_add(number) for number in first)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "holdfast.db"


def total(steps: int) -> int:
    return steps * (steps + 1) // 2


def largest_turn(happened: list[e.Event]) -> int:
    """How many requests stand one after the other, without a cut."""
    most = row = 0
    for event in happened:
        row = row + 1 if isinstance(event, e.StepScheduled) else 0
        most = max(most, row)
    return most


@pytest.mark.parametrize("publishes", [False, True])
async def test_a_run_of_many_steps_is_recorded_in_parts_and_comes_to_its_end(file: Path, publishes: bool) -> None:
    async with process(file, publishes=publishes) as engine:
        await engine.start("cut_twice", "huge", MANY)
        assert await engine.result("huge") == total(MANY) + MANY
        stored = await engine.store.history("huge")
        assert stored is not None
        happened = events_of(stored)
        assert largest_turn(happened) < 2 * PART
        assert any(isinstance(event, e.TurnCut) for event in happened)
        await engine.until_empty_log()
        await assert_whole(engine.store, "huge")
        await assert_nothing_open(engine.store)


async def test_a_turn_that_was_cut_goes_on_in_the_next_process(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("cut_fan", "huge", MANY)
        await engine.until_recorded("huge", "TurnCut")
    async with process(file, "p2") as engine:
        assert await engine.result("huge") == total(MANY)
        await assert_whole(engine.store, "huge")
        await assert_nothing_open(engine.store)


async def test_with_no_room_in_memory_a_turn_that_was_cut_comes_to_its_end_all_the_same(file: Path) -> None:
    async with process(file, cache_bytes=1) as engine:
        await engine.start("cut_fan", "huge", PART + 100)
        assert await engine.result("huge") == total(PART + 100)
        await assert_whole(engine.store, "huge")


async def test_a_run_in_the_middle_of_a_turn_is_cancelled(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("cut_fan", "huge", MANY)
        await engine.until_recorded("huge", "TurnCut")
        await engine.submit("huge", CancelRun(reason="enough"))
        await engine.until_status("huge", CANCELLED)
        await assert_whole(engine.store, "huge")
        await assert_nothing_open(engine.store)
