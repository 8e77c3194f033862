"""Async generators left before their end, on a run's loop beside the process's own."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

from holdfast.sdk.loop import DurableTimer, WorkflowLoop


class NoTimers:
    def start(self, timer: DurableTimer) -> None:
        raise AssertionError

    def cancel(self, timer: DurableTimer) -> None:
        raise AssertionError

    def is_waiting(self) -> bool:
        return False


trace: list[str] = []


async def numbers(whose: str) -> AsyncIterator[int]:
    try:
        yield 1
        yield 2
    finally:
        loop = asyncio.get_running_loop()
        trace.append(f"{whose} closed on {'its run' if isinstance(loop, WorkflowLoop) else 'the process'}'s loop")


async def takes_one(whose: str) -> None:
    async for _ in numbers(whose):
        break


async def takes_all(whose: str) -> None:
    async for _ in numbers(whose):
        pass


def turn_of(main: Callable[[], Awaitable[None]]) -> WorkflowLoop:
    loop = WorkflowLoop(NoTimers())
    _main = loop.create_task(main())
    loop.drain()
    return loop


async def test_a_generator_is_closed_on_the_loop_on_which_it_began() -> None:
    trace.clear()
    await takes_one("before")
    turn_of(lambda: takes_one("run"))
    await takes_one("after")
    await asyncio.sleep(0.01)
    assert sorted(trace) == [
        "after closed on the process's loop",
        "before closed on the process's loop",
        "run closed on its run's loop",
    ]


async def test_a_place_in_memory_that_was_a_runs_is_anybodys_again() -> None:
    trace.clear()
    loops = [turn_of(lambda: takes_all("run")) for _ in range(50)]
    for _ in range(50):
        await takes_one("process")
    await asyncio.sleep(0.01)
    assert trace.count("process closed on the process's loop") == 50
    for loop in loops:
        loop.evict()


async def test_a_generator_that_outlives_its_run_ends_without_effect() -> None:
    trace.clear()
    kept: list[AsyncIterator[int]] = []

    async def keeps() -> None:
        kept.append(numbers("run"))
        await anext(kept[0])

    turn_of(keeps).evict()
    kept.clear()
    assert trace == ["run closed on the process's loop"]
    await asyncio.sleep(0.01)
    assert len(trace) == 1


def test_a_thread_without_a_loop_keeps_its_hooks() -> None:
    before = sys.get_asyncgen_hooks()
    turn_of(lambda: takes_one("run"))
    assert sys.get_asyncgen_hooks() == before


async def test_the_hooks_are_set_once_for_a_running_loop() -> None:
    turn_of(lambda: takes_one("run"))
    ours = sys.get_asyncgen_hooks()
    turn_of(lambda: takes_one("another"))
    assert sys.get_asyncgen_hooks() == ours
