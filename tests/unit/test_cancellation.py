"""Cancellations that are said again and again, whoever says them; and those of many tasks at once."""

import asyncio
from collections.abc import Callable

import anyio
import pytest

from holdfast.core import events as e
from holdfast.core.commands import CompleteRun, ScheduleStep, WithdrawStep
from holdfast.core.replay import ProgramStuck
from tests.unit.test_program import (
    Code,
    counting_only,
    names,
    program_charge,
    program_read,
    programs_in_memory,
)
from tests.unit.test_shielded_effects import CHARGE, fired, result
from tests.unit.test_turn_limit import begin, program_of

Again = Callable[[], None]

__all__ = ["counting_only"]


def repeating(task: asyncio.Task[object], words: str | None) -> Again:
    """What anyio does, written by somebody else."""

    def again() -> None:
        if not task.done():
            task.cancel(words)
            asyncio.get_running_loop().call_soon(again)

    return again


@pytest.mark.parametrize("words", [None, "enough"])
def test_whoever_cancels_again_and_again_does_not_keep_a_turn_from_ending(words: str | None) -> None:
    async def code() -> str:
        charging = asyncio.create_task(program_charge(1))
        await asyncio.sleep(1)
        repeating(charging, words)()
        await asyncio.sleep(1)
        return f"receipt {await charging}"

    told = Code(code)
    told.starts()
    assert names(told.hears(fired(), after=1)) == ["StartTimer", "WithdrawStep"]
    assert told.told("unheard", b"1") == []
    assert told.completed(CHARGE, b"7") == []


def test_a_callback_that_counts_is_called_as_often_as_it_asks() -> None:
    async def code() -> int:
        loop, counted = asyncio.get_running_loop(), asyncio.Event()
        calls = 0

        def count() -> None:
            nonlocal calls
            calls += 1
            if calls < 1_000:
                loop.call_soon(count)
            else:
                counted.set()

        async with asyncio.TaskGroup() as group:
            charging = group.create_task(program_charge(1))
            await asyncio.sleep(1)
            charging.cancel()
            count()
            await counted.wait()
        return calls

    told = Code(code)
    told.starts()
    assert told.hears(fired(), after=1) == [WithdrawStep(step_id=CHARGE)]
    assert told.completed(CHARGE, b"7") == [result(b"1000")]


def test_a_task_that_never_leaves_is_told_as_a_turn_too_long_if_nothing_else_can_happen() -> None:
    async def code() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            while True:
                try:
                    await anyio.Event().wait()
                except anyio.get_cancelled_exc_class():
                    continue

    with pytest.raises(ProgramStuck, match="did not come to rest") as stuck:
        begin(program_of(code, turn_steps=10_000))
    assert stuck.value.reason == "turn_too_long"


def test_a_task_that_never_leaves_is_cancelled_again_in_each_turn() -> None:
    async def code() -> int:
        refused = 0
        with anyio.CancelScope() as scope:
            scope.cancel()
            while refused < 250:
                try:
                    await program_read("n")
                    break
                except anyio.get_cancelled_exc_class():
                    refused += 1
        return refused

    told = Code(code)
    asked = told.starts()
    last = asked[-1]
    assert isinstance(last, ScheduleStep)
    assert len(asked) < 250
    assert isinstance(told.completed(last.step_id, b"1")[-1], CompleteRun)


def test_scopes_that_end_together_wake_in_the_order_of_their_tasks() -> None:
    many = 12

    async def code() -> None:
        async def reading(number: int) -> None:
            with anyio.CancelScope():
                try:
                    await anyio.sleep_forever()
                finally:
                    with anyio.CancelScope(shield=True):
                        await program_read.options(id=f"over {number}")("n")

        async with anyio.create_task_group() as group:
            for number in range(many):
                group.start_soon(reading, number)
            await program_read("n")
            group.cancel_scope.cancel()

    told = Code(code)
    told.starts()
    asked = told.completed("program_read#1", b"1")
    assert [one.step_id for one in asked if isinstance(one, ScheduleStep)] == [f"over {n}" for n in range(many)]


def test_a_cancelled_run_that_awaits_the_task_of_an_effect_is_cancelled_after_the_verdict() -> None:
    async def code() -> str:
        receipt = await asyncio.create_task(asyncio.wait_for(program_charge(1), None))
        try:
            await program_read("n")
        except asyncio.CancelledError:
            return f"cancelled with receipt {receipt}"
        return "not cancelled"

    told = Code(code)
    told.starts()
    assert told.hears(e.CancelRequested()) == [WithdrawStep(step_id=CHARGE)]
    assert told.completed(CHARGE, b"7") == [result(b'"cancelled with receipt 7"')]


def test_a_run_dropped_in_the_middle_of_cancelled_scopes_is_freed_by_counting_references(counting_only: None) -> None:
    async def code() -> None:
        with anyio.move_on_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(program_charge, 1)
                await program_charge(2)

    told = Code(code)
    told.starts()
    told.hears(fired(), after=10)
    told.program.evict()
    before = programs_in_memory()
    del told.program
    assert programs_in_memory() == before - 1
