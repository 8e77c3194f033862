"""Turns that take long, in the real loops of app/ over a real file: they are their runs' own trouble."""

import asyncio
from pathlib import Path

import pytest

from holdfast.core import events as e
from holdfast.core.run import FAILED
from holdfast.sdk.definitions import Retry, step, workflow
from holdfast.sdk.turn_limit import PULSE
from tests.integration.running import events_of, process

heard: list[int] = []


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "holdfast.db"


@step
async def long_turns_answer() -> int:
    return 42


@step(retry=Retry(attempts=1))
async def long_turns_parse(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise error from error


@workflow
async def long_turns_ordinary() -> int:
    return await long_turns_answer()


@workflow
async def long_turns_polls() -> int:
    task = asyncio.create_task(long_turns_answer())
    while not task.done():
        await asyncio.sleep(0)
    return task.result()


@workflow
async def long_turns_takes_its_time(_: int) -> None:
    heard.append(rounds)
    PULSE.beats += 2  # as if the watchdog had looked twice meanwhile


@workflow
async def long_turns_raises_from_itself(text: str, *, in_step: bool) -> int:
    if in_step:
        return await long_turns_parse(text)
    try:
        return int(text)
    except ValueError as error:
        raise error from error


rounds = 0


async def test_turns_that_take_long_do_not_add_up_between_two_rounds_of_the_process(file: Path) -> None:
    async def counts() -> None:
        global rounds  # noqa: PLW0603 - the process's loop, counting its rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    async with process(file, begin=False) as engine:
        names = [f"r{number}" for number in range(10)]
        for number, name in enumerate(names):
            await engine.start("long_turns_takes_its_time", name, number)
        counting = asyncio.get_running_loop().create_task(counts())
        await engine.begin()
        await engine.until_ended(*names)
        counting.cancel()
    assert len(set(heard)) == len(names)


async def test_a_workflow_that_never_rests_is_parked_alone_and_after_a_restart_too(file: Path) -> None:
    async with process(file, begin=False) as engine:
        await engine.start("long_turns_polls", "polls")
        await engine.start("long_turns_ordinary", "ok")
        await engine.begin()
        assert await engine.result("ok") == 42
        parked = await engine.parked("polls")
        assert parked.reason == "turn_too_long"
        assert "test_long_turns.py" in parked.detail
    async with process(file, "p2") as engine:
        await engine.start("long_turns_ordinary", "again")
        assert await engine.result("again") == 42


@pytest.mark.parametrize("in_step", [False, True])
async def test_an_error_that_is_its_own_cause_fails_its_run_alone(file: Path, *, in_step: bool) -> None:
    async with process(file) as engine:
        await engine.start("long_turns_raises_from_itself", "bad", {"text": "x", "in_step": in_step})
        await engine.start("long_turns_ordinary", "ok")
        last = events_of(await engine.until_status("bad", FAILED))[-1]
        assert isinstance(last, e.RunFailed)
        assert last.error.type == "ValueError"
        assert await engine.result("ok") == 42
