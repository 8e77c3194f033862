"""A cancellation around an effect is a request, delivered after the ledger's verdict, with the receipt at hand."""

import asyncio

import pytest

from holdfast.core import events as e
from holdfast.core.commands import CompleteRun, ConcludeCancel, ScheduleStep, WithdrawStep
from holdfast.core.payload import Payload
from holdfast.core.retry import Failure
from holdfast.sdk.definitions import StepError
from tests.unit.test_program import Code, names, program_charge, program_read

CHARGE, REFUND = "program_charge#1", "program_charge#2"


def cancelled(step_id: str = CHARGE) -> e.StepCancelled:
    return e.StepCancelled(step_id=step_id)


def fired() -> e.TimerFired:
    return e.TimerFired(timer_id="timer#1")


def result(data: bytes) -> CompleteRun:
    return CompleteRun(result=Payload(data=data))


async def in_time() -> str:
    try:
        async with asyncio.timeout(10):
            return f"receipt {await program_charge(1)}"
    except TimeoutError:
        return "nothing was sent"


def test_a_timeout_asks_to_close_the_effect_and_waits_for_the_verdict() -> None:
    told = Code(in_time)
    told.starts()
    assert told.hears(fired()) == [WithdrawStep(step_id=CHARGE)]


def test_a_timeout_of_an_effect_that_was_never_sent_is_a_timeout() -> None:
    told = Code(in_time)
    told.starts()
    told.hears(fired())
    assert told.hears(cancelled()) == [result(b'"nothing was sent"')]


def test_an_effect_that_happened_in_spite_of_its_timeout_gives_its_receipt() -> None:
    told = Code(in_time)
    told.starts()
    told.hears(fired())
    assert told.completed(CHARGE, b"7") == [result(b'"receipt 7"')]


def test_the_timeout_is_delivered_at_the_next_wait_inside_its_block() -> None:
    async def code() -> str:
        receipt = 0
        try:
            async with asyncio.timeout(10):
                receipt = await program_charge(1)
                await program_read("n")
        except TimeoutError:
            return f"too late, with receipt {receipt}"
        return "in time"

    told = Code(code)
    told.starts()
    told.hears(fired())
    assert told.completed(CHARGE, b"7") == [result(b'"too late, with receipt 7"')]


def test_a_wait_after_the_block_of_an_overtaken_timeout_is_not_disturbed() -> None:
    async def code() -> int:
        async with asyncio.timeout(10):
            receipt = await program_charge(1)
        return receipt + await program_read("n")

    told = Code(code)
    told.starts()
    told.hears(fired())
    assert names(told.completed(CHARGE, b"7")) == ["ScheduleStep"]
    assert told.completed("program_read#1", b"1") == [result(b"8")]


async def compensated() -> None:
    receipt = None
    try:
        receipt = await program_charge(1)
        await program_read("n")
    except asyncio.CancelledError:
        if receipt is not None:
            await program_charge(-receipt)
        raise


def test_a_cancelled_run_compensates_with_the_receipt_of_the_effect_it_was_in() -> None:
    told = Code(compensated)
    told.starts()
    assert told.hears(e.CancelRequested()) == [WithdrawStep(step_id=CHARGE)]
    (refund,) = told.completed(CHARGE, b"7")
    assert isinstance(refund, ScheduleStep)
    assert (refund.step_id, refund.input.data) == (REFUND, b"-7")
    assert told.completed(REFUND, b"0") == [ConcludeCancel()]


def test_a_cancelled_run_has_nothing_to_compensate_where_nothing_was_sent() -> None:
    told = Code(compensated)
    told.starts()
    told.hears(e.CancelRequested())
    assert told.hears(cancelled()) == [ConcludeCancel()]


def test_an_effect_that_failed_while_it_was_cancelled_raises_its_error_first() -> None:
    seen: list[str] = []

    async def code() -> None:
        try:
            await program_charge(1)
        except StepError as error:
            seen.append(error.failure.type)
        await program_read("n")

    told = Code(code)
    told.starts()
    told.hears(e.CancelRequested())
    ended = told.hears(e.StepFailed(step_id=CHARGE, attempt=1, error=Failure("Refused", "no")))
    assert (seen, ended) == (["Refused"], [ConcludeCancel()])


def test_an_effect_is_withdrawn_once_however_often_it_is_cancelled() -> None:
    async def code() -> int:
        charging = asyncio.create_task(program_charge(1))
        await asyncio.sleep(1)
        charging.cancel()
        await asyncio.sleep(1)
        charging.cancel()
        return await charging

    told = Code(code)
    told.starts()
    assert names(told.hears(fired())) == ["StartTimer", "WithdrawStep"]
    assert told.hears(e.TimerFired(timer_id="timer#2")) == []
    assert told.completed(CHARGE, b"7") == [result(b"7")]


def test_a_group_whose_member_fails_waits_for_the_effects_of_the_others() -> None:
    async def code() -> list[str]:
        kept: list[int] = []

        async def charging() -> None:
            kept.append(await program_charge(1))

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(charging())
                group.create_task(program_read("n"))
        except* StepError:
            pass
        return [f"receipt {one}" for one in kept]

    told = Code(code)
    told.starts()
    failed = e.StepFailed(step_id="program_read#1", attempt=1, error=Failure("OSError", "no"))
    assert told.hears(failed) == [WithdrawStep(step_id=CHARGE)]
    assert told.completed(CHARGE, b"7") == [result(b'["receipt 7"]')]


def test_a_compensation_in_time_is_not_cut_off_by_the_cancellation_it_answers() -> None:
    async def code() -> int:
        try:
            await program_read("n")
        except asyncio.CancelledError:
            async with asyncio.timeout(10):
                refund = await program_charge(1)
            return refund + await program_charge(2)
        return 0

    told = Code(code)
    told.starts()
    told.hears(e.CancelRequested())
    told.hears(fired())
    assert names(told.completed(CHARGE, b"7")) == ["ScheduleStep"]
    assert told.completed(REFUND, b"1") == [result(b"8")]


@pytest.mark.parametrize(
    "waits", [asyncio.wait_for, lambda work, seconds: asyncio.wait_for(asyncio.shield(work), seconds)]
)
def test_wait_for_gives_the_receipt_or_leaves_the_effect_alone(waits: object) -> None:
    async def code() -> str:
        charging = asyncio.ensure_future(program_charge(1))
        try:
            return f"receipt {await waits(charging, 10)}"  # type: ignore[operator]  # both take the same two
        except TimeoutError:
            return f"late receipt {await charging}"

    told = Code(code)
    told.starts()
    told.hears(fired())
    assert told.completed(CHARGE, b"7") in ([result(b'"receipt 7"')], [result(b'"late receipt 7"')])
