"""Child runs through the real loops over a real file: called, awaited, failing, cancelled, closed with their parent."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from holdfast.core import events as e
from holdfast.core.commands import CancelRun, ParkRun, ResumeRun, StartRun, TerminateRun
from holdfast.core.payload import Payload
from holdfast.core.run import CANCELLED, COMPLETED, FAILED, TERMINATED
from holdfast.sdk.definitions import ChildFailed, Retry, detached, seconds, signal, step, workflow
from tests.integration.running import (
    Process,
    assert_nothing_open,
    assert_whole,
    events_of,
    process,
    signal_of,
    start,
)

broken = asyncio.Event()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "holdfast.db"


@step(retry=Retry(attempts=0, initial=0.01, maximum=0.05))
async def child_step(name: str) -> str:
    return f"{name}!"


@step(retry=Retry(attempts=1))
async def child_breaks(name: str) -> str:
    raise ValueError(f"{name} is broken")


@workflow
async def family_parcel(name: str) -> str:
    return await child_step(name)


@workflow
async def family_waiting_parcel(name: str) -> str:
    return f"{name} {await signal('go', str)}"


@workflow
async def family_broken_parcel(name: str) -> str:
    return await child_breaks(name)


@workflow
async def family_stubborn_parcel(name: str) -> str:
    """Finishes what it does, whoever cancels it."""
    try:
        return await signal("go", str)
    except asyncio.CancelledError:
        return await child_step(name)


@workflow
async def family_shipment(names: list[str]) -> list[str]:
    return list(await asyncio.gather(*(family_parcel(name) for name in names)))


@workflow
async def family_catches(name: str) -> list[str]:
    try:
        await family_broken_parcel(name)
    except ChildFailed as failed:
        return [failed.failure.type, failed.failure.message, failed.run_id, failed.status]
    return []


@workflow
async def family_fails_with_it(name: str) -> str:
    return await family_broken_parcel(name)


@workflow
async def family_asks_for(child_id: str) -> str:
    try:
        return await family_parcel.options(id=child_id)("mine")
    except ChildFailed as failed:
        return failed.failure.message


@workflow
async def family_waits_for_parcel(name: str) -> str:
    return await family_waiting_parcel.options(id=f"{name}-child")(name)


@workflow
async def family_gives_up(name: str) -> str:
    try:
        async with asyncio.timeout(seconds(0.05)):
            return await family_waiting_parcel.options(id=f"{name}-child")(name)
    except TimeoutError:
        return "gave up"


@workflow
async def family_is_overtaken(name: str) -> str:
    """The child ends after it was asked to stop, with a result."""
    child = asyncio.ensure_future(family_stubborn_parcel(name))
    await asyncio.sleep(0.05)
    child.cancel()
    return await child


@workflow
async def family_lets_go(name: str) -> str:
    return await detached(family_waiting_parcel, name)


@workflow
async def family_ends_first(plan: dict[str, Any]) -> str:
    call = family_waiting_parcel.options(id=plan["id"], parent_close=plan["close"])
    if plan["detached"]:
        await detached(call, "x")
    else:
        children = asyncio.ensure_future(call("x"))
        assert not children.done()
        await asyncio.sleep(0)
    if plan["waits"]:
        await signal("end")
    return "done"


def answers(run: list[e.Event]) -> list[str]:
    return [type(event).__name__ for event in run if type(event).__name__.startswith("Child")]


async def events(running: Process, run_id: str) -> list[e.Event]:
    stored = await running.store.history(run_id)
    assert stored is not None
    return events_of(stored)


async def test_a_called_workflow_is_a_run_of_its_own_and_its_result_comes_back(file: Path) -> None:
    async with process(file) as running:
        await running.start("family_shipment", "order", ["a", "b"])
        assert await running.result("order") == ["a!", "b!"]
        await assert_whole(running.store, "order", "order:family_parcel#1", "order:family_parcel#2")
        await assert_nothing_open(running.store)


async def test_a_child_knows_its_parent(file: Path) -> None:
    async with process(file) as running:
        await running.start("family_shipment", "order", ["a"])
        await running.until_ended("order")
        started = (await events(running, "order:family_parcel#1"))[0]
        assert isinstance(started, e.RunStarted)
        assert started.parent is not None
        assert (started.parent.run_id, started.parent.step_id) == ("order", "family_parcel#1")


async def test_a_failure_of_a_child_is_raised_where_it_was_called(file: Path) -> None:
    async with process(file) as running:
        await running.start("family_catches", "order", "a")
        wanted = ["builtins.ValueError", "a is broken", "order:family_broken_parcel#1", FAILED]
        found = await running.result("order")
        assert [found[0].removeprefix("builtins."), *found[1:]] == ["ValueError", *wanted[1:]]


async def test_a_failure_of_a_child_that_nobody_catches_is_the_parents(file: Path) -> None:
    async with process(file) as running:
        await running.start("family_fails_with_it", "order", "a")
        stored = await running.until_status("order", FAILED)
        last = events_of(stored)[-1]
        assert isinstance(last, e.RunFailed)
        assert last.error.message == "a is broken"


async def test_an_id_that_another_run_has_is_refused_in_the_parent(file: Path) -> None:
    async with process(file) as running:
        await running.start("family_parcel", "taken", "theirs")
        await running.until_ended("taken")
        await running.start("family_asks_for", "order", "taken")
        assert (await running.result("order")).startswith("run taken exists already and is no child")
        assert len([one for one in await events(running, "taken") if isinstance(one, e.RunStarted)]) == 1


async def test_cancelling_a_parent_cancels_the_child_and_waits_for_its_end(file: Path) -> None:
    async with process(file) as running:
        await running.start("family_waits_for_parcel", "order", "order")
        await running.until_recorded("order-child", "RunStarted")
        await running.submit("order", CancelRun(reason="enough"))
        await running.until_status("order", CANCELLED)
        await running.until_status("order-child", CANCELLED)
        assert answers(await events(running, "order")) == ["ChildScheduled", "ChildCancelRequested", "ChildCancelled"]
        await assert_nothing_open(running.store)


async def test_a_timeout_around_a_child_is_one_when_the_child_has_ended(file: Path) -> None:
    async with process(file) as running:
        await running.start("family_gives_up", "order", "order")
        assert await running.result("order") == "gave up"
        await running.until_status("order-child", CANCELLED)


async def test_a_child_that_is_too_late_to_stop_gives_its_result(file: Path) -> None:
    async with process(file) as running:
        await running.start("family_is_overtaken", "order", "a")
        assert await running.result("order") == "a!"


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (CancelRun(reason="by hand"), "child run order-child was cancelled"),
        (TerminateRun(reason="fraud"), "child run order-child was terminated: fraud"),
    ],
    ids=["cancelled", "terminated"],
)
async def test_a_child_that_somebody_else_ends_is_a_failure_of_the_call(
    command: CancelRun | TerminateRun, text: str, file: Path
) -> None:
    async with process(file) as running:
        await running.start("family_waits_for_parcel", "order", "order")
        await running.until_recorded("order-child", "RunStarted")
        await running.submit("order-child", command)
        last = events_of(await running.until_status("order", FAILED))[-1]
        assert isinstance(last, e.RunFailed)
        assert last.error.message == text


async def test_a_detached_child_outlives_its_parent(file: Path) -> None:
    async with process(file) as running:
        await running.start("family_lets_go", "order", "a")
        child = await running.result("order")
        await running.send(child, signal_of("go", "now"))
        assert await running.result(child) == "a now"
        await running.until_empty_log()
        await assert_nothing_open(running.store)


@pytest.mark.parametrize("is_detached", [False, True])
@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(
    ("close", "status"), [("terminate", TERMINATED), ("cancel", CANCELLED), ("abandon", COMPLETED)]
)
async def test_what_becomes_of_a_child_when_its_parent_ends_is_said_where_it_is_called(
    file: Path, close: str, status: str, *, waits: bool, is_detached: bool
) -> None:
    plan = {"id": "left", "close": close, "detached": is_detached, "waits": waits}
    async with process(file) as running:
        await running.start("family_ends_first", "order", plan)
        if waits:
            await running.until_recorded("left", "RunStarted")
            await running.submit("order", TerminateRun(reason="over"))
        await running.until_ended("order")
        await running.until_recorded("left", "RunStarted")
        if close == "abandon":
            await running.send("left", signal_of("go", "on"))
        await running.until_status("left", status)
        await until_nothing_open(running)


async def until_nothing_open(running: Process) -> None:
    async with asyncio.timeout(20):
        while (await running.store.open_attempts(range(8), 2**62, 10)).rows:
            await asyncio.sleep(0.01)


async def test_a_parked_parent_records_the_answer_and_hears_it_when_it_is_resumed(file: Path) -> None:
    async with process(file) as running:
        await running.start("family_waits_for_parcel", "order", "order")
        await running.until_recorded("order-child", "RunStarted")
        await running.submit("order", ParkRun(reason="test"))
        await running.send("order-child", signal_of("go", "now"))
        await running.until_recorded("order", "ChildCompleted")
        await running.submit("order", ResumeRun(by="ann"))
        assert await running.result("order") == "order now"


async def test_a_start_again_by_the_same_parent_is_answered_again(file: Path) -> None:
    """The answer got lost: a second incarnation of the question changes nothing and is answered."""
    async with process(file) as running:
        await running.start("family_shipment", "order", ["a"])
        await running.until_ended("order")
        first = (await events(running, "order:family_parcel#1"))[0]
        assert isinstance(first, e.RunStarted)
        again = StartRun(workflow="family_parcel", version="1", input=Payload(data=b'["a"]'), parent=first.parent)
        await running.submit("order:family_parcel#1", again)
        assert len(await events(running, "order")) == 4


@pytest.mark.parametrize("publishes", [False, True])
@pytest.mark.parametrize("seed", range(6))
async def test_a_crash_at_any_moment_starts_no_child_twice_and_loses_no_answer(
    file: Path, seed: int, *, publishes: bool
) -> None:
    chance = random.Random(seed)
    names = [f"n{number}" for number in range(5)]
    async with process(file, "p0", publishes=publishes, begin=False) as running:
        await running.start("family_shipment", "order", names)
    for number in range(40):
        async with process(file, f"p{number + 1}", publishes=publishes) as running:
            try:
                async with asyncio.timeout(chance.random() * 0.06 + number * 0.01):
                    await running.result("order")
            except TimeoutError:
                await running.crash()
                continue
            assert await running.result("order") == [f"{name}!" for name in names]
            await assert_whole(running.store, "order", *(f"order:family_parcel#{n}" for n in range(1, 6)))
            return
    pytest.fail("the run never came to its end")


async def test_a_parent_of_a_thousand_children_gathers_them_all(file: Path) -> None:
    names = [str(number) for number in range(1_000)]
    async with process(file) as running:
        await running.submit("order", start("family_shipment", names))
        assert await running.result("order") == [f"{name}!" for name in names]
        await assert_nothing_open(running.store)
