"""Calling what authors wrote: whatever a function raises is its attempt's failure, and a thread is waited for."""

import argparse
import asyncio
import inspect
import logging
import threading
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any, NoReturn

import pytest

from holdfast.app.executor.invocation import Escaped, Invocation, Invoker, NotBegun, Withdrawn
from holdfast.app.executor.threads import ThreadCall, Threads
from holdfast.core.commands import ExecuteStep
from holdfast.core.payload import Payload
from holdfast.sdk.cancelled import cancelled

LONG = 30.0
mark: ContextVar[str] = ContextVar("mark", default="nobody's")


def exit_(code: int) -> NoReturn:
    raise SystemExit(code)


def misread() -> str:
    return str(argparse.ArgumentParser(exit_on_error=True).parse_args(["--unknown"]))


def throw(error: BaseException) -> NoReturn:
    raise error


def several() -> NoReturn:
    raise BaseExceptionGroup("several", [ValueError("one"), SystemExit(2)])


MISTAKES: list[tuple[Callable[[], Any], str]] = [
    (lambda: exit_(3), "SystemExit(3)"),
    (misread, "SystemExit(2)"),
    (lambda: throw(KeyboardInterrupt("mine")), "KeyboardInterrupt('mine')"),
    (lambda: throw(GeneratorExit()), "GeneratorExit()"),
    (lambda: throw(asyncio.CancelledError("mine")), "CancelledError('mine')"),
    (lambda: throw(type("Odd", (BaseException,), {})()), "Odd()"),
    (several, "BaseExceptionGroup('several', [ValueError('one'), SystemExit(2)])"),
]


def task(timeout: float = LONG) -> ExecuteStep:
    return ExecuteStep(
        run_id="run", incarnation=0, step_id="crunch#1", attempt=1, name="crunch", kind="step", queue="default",
        input=Payload(data=b"1"), timeout=timeout,
    )  # fmt: skip


def of(function: Callable[..., Any], *args: Any, timeout: float = LONG, **named: Any) -> Invocation:
    return Invocation(task(timeout), function, args, {}, inspect.iscoroutinefunction(function), **named)


async def outcome(invoker: Invoker, invocation: Invocation) -> str:
    """What an invocation came to, within the time of a test."""
    async with asyncio.timeout(LONG):
        try:
            return repr(await invoker.run(invocation))
        except Escaped as escaped:
            return repr(escaped.error)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG):
        while not condition():
            await asyncio.sleep(0.005)


# -- whatever it raises


@pytest.mark.parametrize(("mistake", "told"), MISTAKES)
async def test_what_ends_programs_is_the_failure_of_a_plain_function(mistake: Callable[[], Any], told: str) -> None:
    invoker = Invoker(1)
    assert await outcome(invoker, of(mistake)) == told
    assert await outcome(invoker, of(lambda: "its thread goes on")) == "'its thread goes on'"


@pytest.mark.parametrize("waits", [0, 1, 3])
@pytest.mark.parametrize(("mistake", "told"), MISTAKES)
async def test_what_ends_programs_is_the_failure_of_an_async_function(
    mistake: Callable[[], Any], told: str, waits: int
) -> None:
    async def function() -> None:
        for _ in range(waits):
            await asyncio.sleep(0)
        mistake()

    assert await outcome(Invoker(1), of(function)) == told


@pytest.mark.parametrize(("mistake", "told"), [one for one in MISTAKES if "Cancelled" not in one[1]])
async def test_what_ends_programs_is_a_failure_on_the_way_out_of_a_timeout(
    mistake: Callable[[], Any], told: str
) -> None:
    async def function() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            mistake()

    assert await outcome(Invoker(1), of(function, timeout=0.01)) == told


async def test_an_exception_that_no_future_can_carry_is_a_failure_at_once() -> None:
    assert await outcome(Invoker(1), of(lambda: next(iter(())))) == "StopIteration()"


async def test_an_ordinary_exception_passes_as_it_is_with_its_cause() -> None:
    cause = ValueError("cause")

    async def function() -> None:
        raise LookupError("mine") from cause

    def plain() -> None:
        raise LookupError("mine") from cause

    for one in (function, plain):
        with pytest.raises(LookupError, match="mine") as raised:
            await Invoker(1).run(of(one))
        assert raised.value.__cause__ is cause


async def test_a_coroutine_that_is_dropped_is_closed_and_nothing_is_told_of_it() -> None:
    closed: list[str] = []

    async def function() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            closed.append("closed")

    running = asyncio.create_task(Invoker(1).run(of(function)))
    await asyncio.sleep(0)
    coroutine = running.get_coro()
    assert coroutine is not None
    coroutine.close()
    assert closed == ["closed"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


# -- cancellations


async def test_who_cancels_the_task_it_runs_in_has_failed_and_the_task_goes_on() -> None:
    async def function() -> None:
        this = asyncio.current_task()
        assert this is not None
        this.cancel()
        await asyncio.sleep(0)

    assert await outcome(Invoker(1), of(function)) == "CancelledError()"
    this = asyncio.current_task()
    assert this is not None
    assert this.cancelling() == 0


async def test_a_cancellation_that_a_function_never_waited_for_harms_nobody() -> None:
    async def function() -> str:
        this = asyncio.current_task()
        assert this is not None
        this.cancel()
        return "done"

    assert await outcome(Invoker(1), of(function)) == "'done'"
    await asyncio.sleep(0)


async def test_a_task_that_a_function_left_behind_and_that_cancels_its_parent_fails_the_attempt_only() -> None:
    async def function() -> None:
        parent = asyncio.current_task()
        assert parent is not None
        asyncio.get_running_loop().call_soon(parent.cancel)
        await asyncio.Event().wait()

    assert await outcome(Invoker(1), of(function)) == "CancelledError()"
    await asyncio.sleep(0)


async def test_a_timeout_counts_also_after_a_library_cancelled_and_did_not_take_it_back() -> None:
    async def function() -> None:
        parent = asyncio.current_task()
        assert parent is not None
        parent.cancel()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError, match=r"attempt 1 took longer than 0\.05 s"):
        await Invoker(1).run(of(function, timeout=0.05))


@pytest.mark.parametrize("plain", [True, False])
async def test_the_end_of_the_process_is_no_failure(plain: bool) -> None:
    gate = threading.Event()

    async def function() -> None:
        await asyncio.Event().wait()

    invoker = Invoker(1)
    running = asyncio.create_task(invoker.run(of((lambda: gate.wait(LONG)) if plain else function)))
    await asyncio.sleep(0)
    invoker.close()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    gate.set()


# -- threads


async def test_as_many_plain_functions_run_at_once_as_there_are_threads_with_names_of_their_own() -> None:
    together = threading.Barrier(40, timeout=LONG)

    def function() -> str:
        together.wait()
        return threading.current_thread().name

    invoker = Invoker(40)
    names = await asyncio.gather(*(invoker.run(of(function)) for _ in range(40)))
    assert sorted(names) == sorted(f"holdfast-step-{number}" for number in range(1, 41))


async def test_idle_threads_are_used_again() -> None:
    invoker = Invoker(50)
    names = {await invoker.run(of(lambda: threading.current_thread().name)) for _ in range(200)}
    assert len(names) < 50


async def test_a_thread_sees_the_context_of_the_attempt_and_leaves_nothing_in_it() -> None:
    def function() -> str:
        before = mark.get()
        mark.set("the thread's")
        return before

    mark.set("the attempt's")
    invoker = Invoker(1)
    assert [await invoker.run(of(function)) for _ in range(2)] == ["the attempt's"] * 2


async def test_waiting_for_a_thread_is_not_time_of_the_attempt() -> None:
    invoker = Invoker(1)
    takes = threading.Event()
    first = asyncio.create_task(invoker.run(of(lambda: takes.wait(0.6))))
    await asyncio.sleep(0)
    # With its wait for the thread it takes 1.2 s.
    assert await invoker.run(of(lambda: takes.wait(0.6), timeout=1.0)) is False
    assert await first is False


async def test_who_waits_for_a_thread_as_long_as_its_timeout_is_withdrawn_and_never_begins() -> None:
    gate, begun, invoker = threading.Event(), list[str](), Invoker(1)
    first = asyncio.create_task(invoker.run(of(lambda: gate.wait(LONG))))
    await asyncio.sleep(0)
    with pytest.raises(NotBegun, match=r"attempt 1 waited 0\.05 s for one of 1 threads and never began"):
        await invoker.run(of(lambda: begun.append("second"), timeout=0.05))
    gate.set()
    await first
    assert await outcome(invoker, of(lambda: "third")) == "'third'"
    assert begun == []


async def test_who_waits_for_a_thread_when_the_process_drains_is_withdrawn_and_the_others_finish() -> None:
    gate, begun, invoker = threading.Event(), list[str](), Invoker(1)
    first = asyncio.create_task(invoker.run(of(lambda: gate.wait(LONG))))
    second = asyncio.create_task(invoker.run(of(lambda: begun.append("second"))))
    await asyncio.sleep(0)
    invoker.drain()
    with pytest.raises(Withdrawn):
        await second
    with pytest.raises(Withdrawn):
        await invoker.run(of(lambda: begun.append("third")))
    gate.set()
    assert await first is True
    assert begun == []


async def test_who_finds_a_thread_begins_even_when_the_process_drains() -> None:
    invoker = Invoker(1)
    invoker.drain()
    assert await outcome(invoker, of(lambda: "there is a thread")) == "'there is a thread'"


async def test_a_function_that_outlives_its_timeout_is_named_and_keeps_its_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate, invoker, outlived = threading.Event(), Invoker(2), list[ThreadCall]()
    with caplog.at_level(logging.WARNING), pytest.raises(TimeoutError, match="and its thread goes on"):
        await invoker.run(of(lambda: gate.wait(LONG), timeout=0.05, outlives=outlived.append))
    assert "step crunch#1 of run run (attempt 1) exceeded its timeout of 0.05 s" in caplog.text
    assert "1 of 2 threads" in caplog.text
    assert await outcome(invoker, of(lambda: threading.current_thread().name)) == "'holdfast-step-2'"
    gate.set()
    await until(lambda: "has returned after its timeout" in caplog.text)
    ended = await outlived[0].ended
    assert ended is not None
    assert ended.value is True


async def test_a_plain_function_is_told_that_its_time_is_over_and_others_are_not() -> None:
    invoker, heard, gate = Invoker(2), list[bool](), threading.Event()

    def works() -> None:
        while not cancelled() and not gate.wait(0.01):
            pass
        heard.append(cancelled())

    other = asyncio.create_task(invoker.run(of(lambda: gate.wait(LONG) and cancelled())))
    with pytest.raises(TimeoutError):
        await invoker.run(of(works, timeout=0.05))
    await until(lambda: bool(heard))
    assert heard == [True]
    gate.set()
    assert await other is False
    assert await invoker.run(of(cancelled)) is False  # in the thread that has heard it
    assert not cancelled()


@pytest.mark.parametrize("plain", [True, False])
async def test_what_is_to_be_looked_at_before_a_function_is_looked_at_when_it_begins(plain: bool) -> None:
    open_ = [True]

    def starts() -> None:
        if not open_[0]:
            raise NotBegun("closed meanwhile")

    async def function() -> str:
        return "ran"

    gate, invoker = threading.Event(), Invoker(1)
    first = asyncio.create_task(invoker.run(of(lambda: gate.wait(LONG))))
    await asyncio.sleep(0)
    second = asyncio.create_task(invoker.run(of((lambda: "ran") if plain else function, starts=starts)))
    if plain:
        await asyncio.sleep(0)
        open_[0] = False
        gate.set()
        with pytest.raises(NotBegun, match="closed meanwhile"):
            await second
    else:
        assert await second == "ran"
        gate.set()
    await first


async def test_a_call_begins_once_or_never() -> None:
    threads, begun, withdrawn = Threads(4), list[int](), 0
    for number in range(500):
        call = threads.submit(partial(begun.append, number))
        withdrawn += call.withdraw()
        await call.ended
    assert len(set(begun)) == len(begun)
    assert len(begun) + withdrawn == 500


# -- a plain function around an async one


async def doubled(number: int) -> int:
    await asyncio.sleep(0)
    return number * 2


def traced(number: int) -> Any:
    return doubled(number)


async def test_what_a_plain_function_gives_to_be_awaited_is_awaited() -> None:
    assert await outcome(Invoker(1), of(traced, 4)) == "8"


async def test_it_is_awaited_within_the_time_of_the_attempt() -> None:
    def endless() -> Any:
        return asyncio.sleep(LONG * 2)

    with pytest.raises(TimeoutError, match="took longer than"):
        await outcome(Invoker(1), of(endless, timeout=0.05))


# -- the event loop


async def test_who_blocks_the_event_loop_is_named_with_its_line(caplog: pytest.LogCaptureFixture) -> None:
    gate = threading.Event()

    async def function() -> None:
        await asyncio.sleep(0)
        gate.wait(0.5)

    invoker = Invoker(1)
    with caplog.at_level(logging.WARNING), invoker.observing(threshold=0.1):
        await invoker.run(of(function))
        await until(lambda: "no longer blocks the event loop" in caplog.text)
    assert "step crunch#1 of run run (attempt 1) blocks the event loop" in caplog.text
    assert "test_invocation.py" in caplog.text
    assert "gate.wait(0.5)" in caplog.text


async def test_who_runs_often_and_briefly_blocks_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def function() -> None:
        for _ in range(20):
            await asyncio.sleep(0.01)

    invoker = Invoker(1)
    with caplog.at_level(logging.WARNING), invoker.observing(threshold=0.1):
        await invoker.run(of(function))
    assert "blocks" not in caplog.text
