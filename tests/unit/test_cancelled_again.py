"""A run that is asked to stop again: what its code has swallowed is over, what it tidies up goes on undisturbed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from holdfast.core import events as e
from holdfast.core.commands import CancelRun, StartRun
from holdfast.core.payload import Payload
from holdfast.core.replay import Rebuilt, advance
from holdfast.core.run import Run
from holdfast.sdk.definitions import Workflow, signal
from holdfast.sdk.program import LiveProgram
from tests.unit.test_program import program_charge, program_read

RUN_ID = "run-1"


async def swallows() -> None:
    with suppress(asyncio.CancelledError):
        await signal("never")
    await signal("on")


async def swallows_and_keeps_it() -> None:
    kept = None
    try:
        await signal("never")
    except asyncio.CancelledError as error:
        kept = error
    await signal("on")
    raise kept or AssertionError


async def swallows_in_tasks() -> None:
    await asyncio.gather(swallows(), asyncio.ensure_future(swallows()))


async def swallows_in_what_it_awaits() -> None:
    await asyncio.ensure_future(swallows_and_keeps_it())


async def tidies_in_finally() -> None:
    try:
        await signal("never")
    finally:
        await program_read("undo")


async def tidies_after_except() -> None:
    try:
        await signal("never")
    except asyncio.CancelledError as error:
        await asyncio.sleep(60 + len(error.args))


async def tidies_deep_inside() -> None:
    async def inner() -> None:
        await tidies_in_finally()

    await inner()


async def tidies_in_a_task() -> None:
    await asyncio.ensure_future(tidies_in_finally())


async def tidies_in_tasks() -> None:
    await asyncio.gather(tidies_in_finally(), tidies_after_except())


@asynccontextmanager
async def reserved() -> AsyncIterator[None]:
    try:
        yield
    finally:
        await program_read("give back")


async def tidies_in_a_context() -> None:
    async with reserved():
        await signal("never")


async def numbers() -> AsyncIterator[int]:
    try:
        await signal("never")
        yield 1
    finally:
        await program_read("close")


async def tidies_in_a_generator() -> None:
    async for _ in numbers():
        pass


async def waits_for_a_verdict() -> None:
    await program_charge(1)


SWALLOWED: list[Callable[[], Awaitable[Any]]] = [
    swallows, swallows_and_keeps_it, swallows_in_tasks, swallows_in_what_it_awaits,
]  # fmt: skip
AT_WORK: list[Callable[[], Awaitable[Any]]] = [
    tidies_in_finally, tidies_after_except, tidies_deep_inside, tidies_in_a_task, tidies_in_tasks, tidies_in_a_context,
    tidies_in_a_generator, waits_for_a_verdict,
]  # fmt: skip


class Live:
    """A run with its code, to which commands are given."""

    def __init__(self, function: Callable[[], Awaitable[Any]]) -> None:
        self.definition: Workflow[..., Any] = Workflow(function, "code", "1")
        self.run = Run(RUN_ID)
        self.program = self.new()
        self.history: list[e.Recorded] = []
        self.hears(StartRun(workflow="code", version="1"))

    def new(self) -> LiveProgram:
        return LiveProgram(lambda _name, _version: self.definition, self.read, "ns", RUN_ID, 0)

    def read(self, payload: Payload) -> bytes:
        return payload.data

    def hears(self, command: StartRun | CancelRun) -> list[str]:
        advanced = advance(self.run, self.program, command, 1)
        self.run = advanced.run
        for event in advanced.events:
            self.history.append(e.Recorded(len(self.history) + 1, 1, event))
        return [type(event).__name__ for event in advanced.events]

    def cancelled(self, message_id: str) -> list[str]:
        return self.hears(CancelRun(message_id=message_id))


@pytest.mark.parametrize("code", SWALLOWED)
def test_after_a_swallowed_cancellation_the_next_one_is_delivered(code: Callable[[], Awaitable[Any]]) -> None:
    live = Live(code)
    assert live.cancelled("m1") == ["CancelRequested"]
    assert live.cancelled("m1") == []
    assert live.cancelled("m2") == ["CancelRequested", "RunCancelled"]
    live.program.evict()


@pytest.mark.parametrize("code", AT_WORK)
def test_what_is_tidied_up_is_not_disturbed_by_another_cancellation(code: Callable[[], Awaitable[Any]]) -> None:
    live = Live(code)
    live.cancelled("m1")
    before = live.run
    assert live.cancelled("m2") == []
    assert live.run == before
    live.program.evict()


@pytest.mark.parametrize("code", SWALLOWED)
def test_a_replay_asks_nobody_whether_a_cancellation_was_swallowed(code: Callable[[], Awaitable[Any]]) -> None:
    live = Live(code)
    live.cancelled("m1")
    live.cancelled("m2")
    program = live.new()
    assert Rebuilt(Run(RUN_ID)).replay(live.history, program) == live.run
    program.evict()
    live.program.evict()
