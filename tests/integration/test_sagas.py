"""Sagas on the real engine: undone backwards, shielded, after a crash too; one that fails waits for a person."""

import asyncio
from pathlib import Path

import pytest

from holdfast import GIVEN, Fatal, Retry, compensations, effect, hours, signal, step, workflow
from holdfast.core import events as e
from holdfast.core.commands import CancelRun, ResumeRun
from holdfast.core.run import CANCELLED, FAILED, PARKED
from tests.integration.running import CODEC, process

UNDONE: list[str] = []
BROKEN: set[str] = set()
GATE = [asyncio.Event()]


@pytest.fixture(autouse=True)
def fresh() -> None:
    UNDONE.clear()
    BROKEN.clear()
    GATE[:] = [asyncio.Event()]  # of this test's loop


@step
async def saga_reserve(what: str) -> str:
    if what == "nothing":
        raise Fatal("sold out")
    return what


@step(retry=Retry(attempts=2, initial=0.01))
async def saga_release(what: str) -> None:
    if what in BROKEN:
        raise ConnectionError(f"{what} cannot be released")
    UNDONE.append(what)


@step
async def saga_release_later(what: str) -> None:
    UNDONE.append(f"{what}…")
    await GATE[0].wait()
    UNDONE.append(what)


@effect(guard="provider_key", window=hours(24))
async def saga_refund(what: str, *, key: str = GIVEN) -> str:
    UNDONE.append(f"refund of {what}")
    return key


@workflow
async def saga_order(wanted: list[str]) -> str:
    async with compensations() as undo:
        for what in wanted:
            undo.add(saga_release, await saga_reserve(what))
    return "all reserved"


@workflow
async def saga_paid_order(what: str) -> None:
    async with compensations() as undo:
        undo.add(saga_release, await saga_reserve(what))
        undo.add(saga_refund, what)
        await signal("never")


@workflow
async def saga_slowly_undone(what: str) -> None:
    async with compensations() as undo:
        undo.add(saga_release, "before")
        undo.add(saga_release_later, await saga_reserve(what))
        raise LookupError(what)


async def test_what_was_done_is_undone_backwards_and_the_error_goes_on(tmp_path: Path) -> None:
    async with process(tmp_path / "holdfast.db") as running:
        await running.start("saga_order", "order-1", ["frame", "lens", "nothing"])
        stored = await running.until_status("order-1", FAILED)
        assert UNDONE == ["lens", "frame"]
        failed = CODEC.decode_event(stored.history[-1].type, stored.history[-1].data)
        assert isinstance(failed, e.RunFailed)
        assert failed.error.message == "sold out"


async def test_what_goes_well_is_not_undone(tmp_path: Path) -> None:
    async with process(tmp_path / "holdfast.db") as running:
        await running.start("saga_order", "order-2", ["frame", "lens"])
        assert await running.result("order-2") == "all reserved"
        assert UNDONE == []


async def test_a_cancelled_run_undoes_effects_and_steps(tmp_path: Path) -> None:
    async with process(tmp_path / "holdfast.db") as running:
        await running.start("saga_paid_order", "order-3", "frame")
        await running.until_recorded("order-3", "StepCompleted")
        await running.send("order-3", CancelRun(reason="enough"))
        await running.until_status("order-3", CANCELLED)
        assert UNDONE == ["refund of frame", "frame"]


async def test_a_cancellation_while_it_is_undone_is_heard_afterwards(tmp_path: Path) -> None:
    async with process(tmp_path / "holdfast.db") as running:
        await running.start("saga_slowly_undone", "order-4", "frame")
        await running.until(lambda: UNDONE == ["frame…"])
        await running.send("order-4", CancelRun(reason="enough"))
        await running.until_recorded("order-4", "CancelRequested")
        GATE[0].set()
        await running.until_status("order-4", CANCELLED)
        assert UNDONE == ["frame…", "frame", "before"]


async def test_a_crash_while_it_is_undone_does_nothing_twice_that_was_settled(tmp_path: Path) -> None:
    path = tmp_path / "holdfast.db"
    async with process(path) as running:
        await running.start("saga_slowly_undone", "order-5", "frame")
        await running.until(lambda: UNDONE == ["frame…"])
        await running.crash()
    GATE[0].set()
    async with process(path, "second") as running:
        await running.until_status("order-5", FAILED)
    assert UNDONE == ["frame…", "frame…", "frame", "before"]


async def test_an_undoing_that_fails_waits_for_a_person_and_names_the_rest(tmp_path: Path) -> None:
    BROKEN.add("lens")
    async with process(tmp_path / "holdfast.db") as running:
        await running.start("saga_order", "order-6", ["frame", "lens", "nothing"])
        stored = await running.until_status("order-6", PARKED)
        assert stored.row.parked == "compensation_failed"
        events = [CODEC.decode_event(one.type, one.data) for one in stored.history]
        (why,) = [one.reason for one in events if isinstance(one, e.StepParked)]
        assert why.startswith("compensation_failed: saga_release failed: StepError: ConnectionError: lens cannot be")
        assert why.endswith("still to do after it: saga_release")
        assert UNDONE == []

        await running.send("order-6", ResumeRun(by="ada"))  # too early: it is tried, and parked again
        await running.until_recorded("order-6", "StepParked", "StepParked")
        BROKEN.clear()
        await running.send("order-6", ResumeRun(by="ada"))
        await running.until_status("order-6", FAILED)
        assert UNDONE == ["lens", "frame"]


async def test_outside_of_a_workflow_it_just_undoes() -> None:
    with pytest.raises(Fatal, match="sold out"):
        await saga_order(["frame", "nothing"])
    assert UNDONE == ["frame"]


async def test_what_undoes_is_a_step_or_an_effect() -> None:
    with pytest.raises(TypeError, match=r"undo\.add\(.*\): what undoes is an effect or a step, named and not called"):
        compensations().add(print, "frame")  # type: ignore[arg-type]  # the mistake itself
