"""anyio cancels again and again until a task has left its scope; an effect in flight is asked back once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio.abc import TaskStatus
from anyio.lowlevel import checkpoint

from holdfast.core import events as e
from holdfast.core.commands import CancelTimer, ConcludeCancel, StartTimer, WithdrawStep
from holdfast.core.retry import Failure
from holdfast.sdk.definitions import StepError
from tests.unit.test_program import Code, failure, names, program_charge, program_read
from tests.unit.test_shielded_effects import CHARGE, REFUND, cancelled, fired, result

READ = "program_read#1"
NO = Failure("OSError", "no")
WITHDRAWN = WithdrawStep(step_id=CHARGE)


def failed(step_id: str) -> e.StepFailed:
    return e.StepFailed(step_id=step_id, attempt=1, error=NO)


# -------------------------------------------------------------------------------------------- a deadline, and an effect


async def failing_in_time() -> str:
    try:
        with anyio.fail_after(10):
            return f"receipt {await program_charge(1)}"
    except TimeoutError:
        return "nothing was sent"


async def moving_on() -> str:
    with anyio.move_on_after(10) as scope:
        return f"receipt {await program_charge(1)}"
    return "nothing was sent" if scope.cancelled_caught else "not caught"


async def moving_on_at() -> str:
    with anyio.move_on_at(anyio.current_time() + 10):
        return f"receipt {await program_charge(1)}"
    return "nothing was sent"


async def moving_on_from_within() -> str:
    with anyio.move_on_after(10), anyio.CancelScope(), anyio.CancelScope():
        return f"receipt {await program_charge(1)}"
    return "nothing was sent"


async def moving_on_from_a_task() -> str:
    charging = asyncio.create_task(program_charge(1))
    with anyio.move_on_after(10):
        return f"receipt {await charging}"
    return "nothing was sent"


async def moving_on_from_a_group_of_asyncio() -> str:
    with anyio.move_on_after(10):
        async with asyncio.TaskGroup() as group:
            charging = group.create_task(program_charge(1))
    return "nothing was sent" if charging.cancelled() else f"receipt {charging.result()}"


async def moving_on_from_a_group() -> str:
    receipts: list[int] = []

    async def charging() -> None:
        receipts.append(await program_charge(1))

    with anyio.move_on_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(charging)
    return f"receipt {receipts[0]}" if receipts else "nothing was sent"


Main = Callable[[], Awaitable[str]]
DEADLINES = pytest.mark.parametrize(
    "code",
    [
        failing_in_time, moving_on, moving_on_at, moving_on_from_within, moving_on_from_a_task,
        moving_on_from_a_group_of_asyncio, moving_on_from_a_group,
    ],
)  # fmt: skip


@DEADLINES
def test_a_deadline_asks_once_for_the_effect_back_and_the_turn_ends(code: Main) -> None:
    told = Code(code)
    told.starts()
    assert told.hears(fired(), after=10) == [WITHDRAWN]


@DEADLINES
def test_whatever_else_happens_the_effect_is_not_asked_back_again(code: Main) -> None:
    told = Code(code)
    told.starts()
    told.hears(fired(), after=10)
    assert told.told("unheard", b"1") == []
    assert told.told("unheard", b"2") == []


@DEADLINES
def test_the_deadline_of_an_effect_that_was_never_sent_passes_as_ever(code: Main) -> None:
    told = Code(code)
    told.starts()
    told.hears(fired(), after=10)
    assert told.hears(cancelled()) == [result(b'"nothing was sent"')]


@DEADLINES
def test_an_effect_that_happened_in_spite_of_its_deadline_gives_its_receipt(code: Main) -> None:
    told = Code(code)
    told.starts()
    told.hears(fired(), after=10)
    told.told("unheard", b"1")
    assert told.completed(CHARGE, b"7") == [result(b'"receipt 7"')]


def test_an_effect_in_time_hears_nothing_of_its_deadline() -> None:
    told = Code(failing_in_time)
    told.starts()
    assert told.completed(CHARGE, b"7") == [CancelTimer(timer_id="timer#1"), result(b'"receipt 7"')]


def test_effects_that_are_gathered_end_with_their_scope() -> None:
    async def code() -> str:
        try:
            with anyio.fail_after(10):
                await asyncio.gather(program_charge(1), program_charge(2))
        except TimeoutError:
            return "too late"
        return "in time"

    told = Code(code)
    told.starts()
    assert told.hears(fired(), after=10) == [WITHDRAWN, WithdrawStep(step_id=REFUND)]
    assert told.completed(REFUND, b"2") == []
    assert told.completed(CHARGE, b"1") == [result(b'"too late"')]


# ---------------------------------------------------------------------------------------------------- after the verdict


async def charged_then_read() -> str:
    receipt = None
    try:
        with anyio.fail_after(10):
            receipt = await program_charge(1)
            await program_read("n")
    except TimeoutError:
        return f"too late, with receipt {receipt}"
    return "in time"


def test_the_deadline_is_delivered_at_the_next_wait_in_the_scope() -> None:
    told = Code(charged_then_read)
    told.starts()
    told.hears(fired(), after=10)
    asked = told.completed(CHARGE, b"7")
    assert names(asked[:-1]) == ["ScheduleStep", "AbandonStep"]  # of one turn: it is never sent
    assert asked[-1] == result(b'"too late, with receipt 7"')


@pytest.mark.parametrize("waits", [anyio.sleep_forever, checkpoint, lambda: anyio.Event().wait()])
def test_the_deadline_is_delivered_at_waits_that_ask_for_nothing(waits: Callable[[], Awaitable[None]]) -> None:
    async def code() -> str:
        with anyio.move_on_after(10):
            receipt = await program_charge(1)
            await waits()
        return f"too late, with receipt {receipt}"

    told = Code(code)
    told.starts()
    told.hears(fired(), after=10)
    assert told.completed(CHARGE, b"7") == [result(b'"too late, with receipt 7"')]


def test_a_refused_effect_raises_its_error_before_the_deadline_is_delivered() -> None:
    async def code() -> str:
        said = ""
        with anyio.move_on_after(10) as scope:
            try:
                await program_charge(1)
            except StepError as error:
                said = error.failure.type
            await anyio.sleep_forever()
        return f"{said} {scope.cancelled_caught}"

    told = Code(code)
    told.starts()
    told.hears(fired(), after=10)
    assert told.hears(failed(CHARGE)) == [result(b'"OSError True"')]


def test_a_wait_after_the_scope_is_not_disturbed() -> None:
    async def code() -> int:
        with anyio.move_on_after(10):
            receipt = await program_charge(1)
        return receipt + await program_read("n")

    told = Code(code)
    told.starts()
    told.hears(fired(), after=10)
    assert names(told.completed(CHARGE, b"7")) == ["ScheduleStep"]
    assert told.completed(READ, b"1") == [result(b"8")]


def test_nothing_is_left_of_the_cancellations_that_an_effect_absorbed() -> None:
    async def code() -> int:
        with anyio.move_on_after(10):
            await program_charge(1)
        task = asyncio.current_task()
        return task.cancelling() if task is not None else -1

    told = Code(code)
    told.starts()
    told.hears(fired(), after=10)
    told.told("unheard", b"1")
    assert told.completed(CHARGE, b"7") == [result(b"0")]


async def giving_back() -> str:
    with anyio.move_on_after(10) as scope:
        receipt = await program_charge(1)
        try:
            await program_read("n")
        finally:
            with anyio.CancelScope(shield=True):
                await program_charge(-receipt)
    return f"given back, {scope.cancelled_caught}"


def test_a_shield_of_anyio_protects_the_compensation() -> None:
    told = Code(giving_back)
    told.starts()
    told.hears(fired(), after=10)
    assert names(told.completed(CHARGE, b"7")) == ["ScheduleStep", "AbandonStep", "ScheduleStep"]
    assert told.told("unheard", b"1") == []
    assert told.completed(REFUND, b"0") == [result(b'"given back, True"')]


def test_a_compensation_without_a_shield_is_asked_back_before_it_is_sent() -> None:
    async def code() -> str:
        with anyio.move_on_after(10):
            try:
                await program_read("n")
            finally:
                await program_charge(1)
        return "moved on"

    told = Code(code)
    told.starts()
    assert names(told.hears(fired(), after=10)) == ["AbandonStep", "ScheduleStep", "WithdrawStep"]
    assert told.hears(cancelled()) == [result(b'"moved on"')]


# ------------------------------------------------------------------------------------------ cancellations of both kinds


def test_a_cancelled_run_is_cancelled_though_its_scope_was_too() -> None:
    told = Code(charged_then_read)
    told.starts()
    told.hears(fired(), after=10)
    assert told.hears(e.CancelRequested()) == []
    assert told.completed(CHARGE, b"7") == [ConcludeCancel()]


def test_the_scope_is_cancelled_though_the_run_was_before() -> None:
    told = Code(charged_then_read)
    told.starts()
    assert told.hears(e.CancelRequested()) == [WITHDRAWN]
    assert told.hears(fired(), after=10) == []
    assert told.completed(CHARGE, b"7") == [ConcludeCancel()]


def test_a_timeout_inside_a_scope_leaves_the_rest_to_the_scope() -> None:
    async def code() -> bool:
        with anyio.move_on_after(10) as scope:
            async with asyncio.timeout(5):
                await program_charge(1)
            await program_read("n")
        return scope.cancelled_caught

    told = Code(code)
    told.starts()
    assert told.hears(e.TimerFired(timer_id="timer#2"), after=5) == [WITHDRAWN]
    assert told.hears(fired(), after=5) == []
    assert told.completed(CHARGE, b"7")[-1] == result(b"true")


def test_a_scope_inside_a_timeout_leaves_the_rest_to_the_timeout() -> None:
    async def code() -> str:
        try:
            async with asyncio.timeout(10):
                with anyio.move_on_after(5):
                    await program_charge(1)
                await program_read("n")
        except TimeoutError:
            return "too late"
        return "in time"

    told = Code(code)
    told.starts()
    assert told.hears(e.TimerFired(timer_id="timer#2"), after=5) == [WITHDRAWN]
    assert told.hears(fired(), after=5) == []
    assert told.completed(CHARGE, b"7") == [result(b'"too late"')]


def test_the_inner_of_two_cancelled_scopes_leaves_the_rest_to_the_outer() -> None:
    async def code() -> list[bool]:
        with anyio.move_on_after(10) as outer:
            with anyio.move_on_after(5) as inner:
                await program_charge(1)
                await anyio.sleep(1)
            await anyio.sleep(1)
        return [outer.cancelled_caught, inner.cancelled_caught]

    told = Code(code)
    told.starts()
    assert told.hears(e.TimerFired(timer_id="timer#2"), after=5) == [WITHDRAWN]
    assert told.hears(fired(), after=5) == []
    assert told.completed(CHARGE, b"7")[-1] == result(b"[true,false]")


# ---------------------------------------------------------------------------------------------------------- task groups


def test_a_group_whose_member_fails_waits_for_the_effects_of_the_others() -> None:
    async def code() -> list[int]:
        kept: list[int] = []

        async def charging() -> None:
            kept.append(await program_charge(1))

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(charging)
                group.start_soon(program_read, "n")
        except* StepError:
            pass
        return kept

    told = Code(code)
    told.starts()
    assert told.hears(failed(READ)) == [WITHDRAWN]
    assert told.completed(CHARGE, b"7") == [result(b"[7]")]


def test_a_group_tells_what_failed_after_the_effects_of_the_others() -> None:
    async def code() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(program_charge, 1)
            group.start_soon(program_read, "n")

    told = Code(code)
    told.starts()
    told.hears(failed(READ))
    assert failure(told.completed(CHARGE, b"7")).type == "ExceptionGroup"


def test_a_group_that_is_cancelled_by_hand_waits_for_its_effects() -> None:
    async def code() -> str:
        async with anyio.create_task_group() as group:
            group.start_soon(program_charge, 1)
            await program_read("n")
            group.cancel_scope.cancel()
        return "all left"

    told = Code(code)
    told.starts()
    assert told.completed(READ, b"1") == [WITHDRAWN]
    assert told.completed(CHARGE, b"7") == [result(b'"all left"')]


async def serve(*, task_status: TaskStatus[int]) -> None:
    task_status.started(await program_charge(1))
    await program_read("n")


async def serving() -> str:
    with anyio.move_on_after(10) as scope:
        async with anyio.create_task_group() as group:
            return f"started with {await group.start(serve)}"
    return "moved on" if scope.cancelled_caught else "not caught"


def test_a_task_that_starts_with_an_effect_is_waited_for() -> None:
    told = Code(serving)
    told.starts()
    assert told.hears(fired(), after=10) == [WITHDRAWN]
    assert told.hears(cancelled()) == [result(b'"moved on"')]


def test_a_task_that_has_started_ends_with_its_scope() -> None:
    told = Code(serving)
    told.starts()
    assert names(told.completed(CHARGE, b"7")) == ["ScheduleStep"]
    asked = told.hears(fired(), after=10)
    assert names(asked[:-1]) == ["AbandonStep"]
    assert asked[-1] == result(b'"moved on"')


def test_what_others_of_a_cancelled_group_do_goes_on_beside_the_effect() -> None:
    async def code() -> str:
        async def reading() -> None:
            with anyio.CancelScope(shield=True):
                await program_read("n")
            await program_read("never sent")

        async with anyio.create_task_group() as group:
            group.start_soon(program_charge, 1)
            group.start_soon(reading)
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        return "all left"

    told = Code(code)
    assert names(told.starts()) == ["ScheduleStep", "ScheduleStep", "WithdrawStep"]
    assert names(told.completed(READ, b"1")) == ["ScheduleStep", "AbandonStep"]
    assert told.completed(CHARGE, b"7") == [result(b'"all left"')]


# ----------------------------------------------------------------------------------------------- locks, events, streams


def test_who_holds_a_lock_over_an_effect_hands_it_on_after_the_verdict() -> None:
    async def code() -> list[str]:
        lock, said = anyio.Lock(), list[str]()

        async def paying() -> None:
            with anyio.move_on_after(10):
                async with lock:
                    said.append(f"receipt {await program_charge(1)}")

        async def next_one() -> None:
            async with lock:
                said.append("next")

        async with anyio.create_task_group() as group:
            group.start_soon(paying)
            group.start_soon(next_one)
        return said

    told = Code(code)
    told.starts()
    assert told.hears(fired(), after=10) == [WITHDRAWN]
    assert told.completed(CHARGE, b"7") == [result(b'["receipt 7","next"]')]


@pytest.mark.parametrize(
    "kind",
    [lambda: anyio.Semaphore(1), lambda: anyio.CapacityLimiter(1), anyio.Lock],
    ids=["semaphore", "limiter", "lock"],
)
def test_what_limits_effects_is_free_again_after_the_verdict(kind: Callable[[], Any]) -> None:
    async def code() -> list[int]:
        limit, receipts = kind(), list[int]()

        async def paying(cents: int) -> None:
            async with limit:
                receipts.append(await program_charge(cents))

        with anyio.move_on_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(paying, 1)
                group.start_soon(paying, 2)
        async with limit:
            return receipts

    told = Code(code)
    assert names(told.starts()) == ["StartTimer", "ScheduleStep"]
    assert told.hears(fired(), after=10) == [WITHDRAWN]
    assert told.completed(CHARGE, b"7") == [result(b"[7]")]


def test_a_stream_carries_what_effects_bring_till_its_scope_ends() -> None:
    async def code() -> list[int]:
        send, receive = anyio.create_memory_object_stream[int](0)
        heard: list[int] = []

        async def paying() -> None:
            async with send:
                for cents in (1, 2, 3):
                    await send.send(await program_charge(cents))

        with anyio.move_on_after(10):
            async with anyio.create_task_group() as group, receive:
                group.start_soon(paying)
                async for one in receive:
                    heard.append(one)  # noqa: PERF401 - what was heard before the end is kept
        return heard

    told = Code(code)
    told.starts()
    assert names(told.completed(CHARGE, b"5")) == ["ScheduleStep"]
    assert told.hears(fired(), after=10) == [WithdrawStep(step_id=REFUND)]
    assert told.completed(REFUND, b"6") == [result(b"[5]")]


def test_an_event_that_an_effect_sets_is_heard_inside_a_cancelled_scope() -> None:
    async def code() -> str:
        paid = anyio.Event()

        async def paying() -> None:
            await program_charge(1)
            paid.set()

        async with anyio.create_task_group() as group:
            group.start_soon(paying)
            with anyio.CancelScope(shield=True):
                group.cancel_scope.cancel()
                await paid.wait()
        return "paid"

    told = Code(code)
    assert names(told.starts()) == ["ScheduleStep", "WithdrawStep"]
    assert told.completed(CHARGE, b"7") == [result(b'"paid"')]


# --------------------------------------------------------------------------------------------- scopes cancelled already


def test_an_effect_in_a_scope_that_was_cancelled_is_asked_back_in_its_own_turn() -> None:
    async def code() -> bool:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await program_charge(1)
        return scope.cancelled_caught

    told = Code(code)
    assert names(told.starts()) == ["ScheduleStep", "WithdrawStep"]
    assert told.hears(cancelled()) == [result(b"true")]


@pytest.mark.parametrize("waits", [anyio.sleep_forever, checkpoint, lambda: anyio.Event().wait()])
def test_a_wait_in_a_scope_that_was_cancelled_ends_at_once(waits: Callable[[], Awaitable[None]]) -> None:
    async def code() -> bool:
        with anyio.CancelScope() as scope:
            scope.cancel()
            try:
                await waits()
            except anyio.get_cancelled_exc_class():
                await waits()  # and so does the next
        return scope.cancelled_caught

    assert Code(code).starts()[-1] == result(b"true")


def test_a_group_of_asyncio_that_cleans_up_in_a_cancelled_scope_is_waited_for() -> None:
    async def code() -> str:
        async def cleaning() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                await program_read("clean")

        with anyio.move_on_after(10) as scope:
            async with asyncio.TaskGroup() as group:
                group.create_task(cleaning())
        return f"cleaned, {scope.cancelled_caught}"

    told = Code(code)
    told.starts()
    assert names(told.hears(fired(), after=10)) == ["ScheduleStep"]
    assert told.completed(READ, b"1") == [result(b'"cleaned, True"')]


def test_a_task_may_refuse_its_cancellation_many_times_and_leave_in_the_same_turn() -> None:
    async def code() -> int:
        refused = 0
        with anyio.move_on_after(10):
            while refused < 1_000:
                try:
                    await anyio.sleep_forever()
                except anyio.get_cancelled_exc_class():
                    refused += 1
        return refused

    told = Code(code)
    told.starts()
    assert told.hears(fired(), after=10) == [result(b"1000")]


# ------------------------------------------------------------------------------------------------------------ deadlines


@pytest.mark.parametrize("delay", [0.3, 1 / 3, 2 / 3])  # a third of a second lies between two microseconds
def test_a_deadline_is_reached_when_its_timer_fires_to_the_microsecond(delay: float) -> None:
    async def code() -> str:
        try:
            with anyio.fail_after(delay):
                await asyncio.gather(program_charge(1))
        except TimeoutError:
            return "too late"
        return "in time"

    told = Code(code)
    timer, _ = told.starts()
    assert isinstance(timer, StartTimer)
    told.now = timer.due_at
    assert told.hears(fired()) == [WITHDRAWN]
    assert told.completed(CHARGE, b"7") == [result(b'"too late"')]


def test_a_deadline_may_be_moved_while_an_effect_is_in_flight() -> None:
    async def code() -> str:
        async with anyio.create_task_group() as group:
            with anyio.move_on_after(10) as scope:

                async def hurrying() -> None:
                    await program_read("n")
                    scope.deadline = anyio.current_time()

                group.start_soon(hurrying)
                return f"receipt {await program_charge(1)}"
        return "moved on"

    told = Code(code)
    told.starts()
    assert told.completed(READ, b"1") == [CancelTimer(timer_id="timer#1"), WITHDRAWN]
    assert told.completed(CHARGE, b"7") == [result(b'"receipt 7"')]
