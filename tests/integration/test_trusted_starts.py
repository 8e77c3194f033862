"""A start is taken for new without asking the store; when it is not new, only time is lost."""

from pathlib import Path

import pytest

from holdfast.app.orchestrator import load
from holdfast.ports.store import Store
from holdfast.sdk.definitions import step, workflow
from tests.integration.faults import FaultyStore
from tests.integration.running import assert_nothing_open, assert_whole, header, process


@step
async def trust_add(number: int) -> int:
    return number + 1


@workflow
async def trust_two(number: int) -> int:
    return await trust_add(await trust_add(number))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "holdfast.db"


@pytest.fixture(autouse=True)
def asked_about_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the engine ask about the first slice with a start, and trust from then on: it is 2,000 starts otherwise."""
    monkeypatch.setattr(load, "UNSURE", 1)


async def test_runs_that_ended_are_started_again_among_new_ones_and_nothing_happens_twice(file: Path) -> None:
    runs = [f"r{number}" for number in range(40)]
    async with process(file) as engine:
        for number, run_id in enumerate(runs):
            await engine.start("trust_two", run_id, number)
            await engine.until_ended(run_id)
            for earlier in runs[: number + 1 : 7]:
                await engine.start("trust_two", earlier, runs.index(earlier))
        await engine.until_empty_log()
        for number, run_id in enumerate(runs):
            assert await engine.result(run_id) == number + 2
        await assert_whole(engine.store, *runs)
        await assert_nothing_open(engine.store)
        assert await engine.dead_letters(0) == []


async def test_another_start_of_a_run_that_ended_is_a_dead_letter(file: Path) -> None:
    async with process(file) as engine:
        for run_id in ("first", "r"):
            await engine.start("trust_two", run_id, 1)
            await engine.until_ended(run_id)
        await engine.start("trust_two", "r", 2)
        (dead,) = await engine.dead_letters()
        assert header(dead, "holdfast_error_class") == "run_exists_differs"
        assert await engine.result("r") == 3
        await assert_whole(engine.store, "r")


async def test_what_the_store_refuses_for_another_reason_parks_its_run_and_no_other(file: Path) -> None:
    stores: list[FaultyStore] = []

    def faulty(real: Store) -> FaultyStore:
        stores.append(FaultyStore(real))
        return stores[-1]

    async with process(file, decorate=faulty) as engine:
        await engine.start("trust_two", "first", 1)
        await engine.until_ended("first")
        stores[0].refused.add(b"poison")
        await engine.start("trust_two", "r", 1, note="poison")
        await engine.start("trust_two", "fine", 1)
        assert (await engine.parked("r")).reason == "refused_by_store"
        assert await engine.result("fine") == 3
        await assert_whole(engine.store, "r", "fine")
