"""Runs that go on as new, through the real loops over a real file."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from holdfast.app.client.republish import Republisher
from holdfast.app.effects.resolve import Resolutions, Verdict
from holdfast.app.records import Wire
from holdfast.app.schemas import SchemaCache
from holdfast.core.commands import Addressed, CancelRun, Command
from holdfast.core.effects import PARKED, Effect
from holdfast.core.run import CANCELLED, COMPLETED
from holdfast.ports.log import Log, Outgoing
from holdfast.ports.topics import Topics
from holdfast.sdk.continuing import continue_as_new
from holdfast.sdk.definitions import signal, step, workflow
from holdfast.sdk.effects import effect
from tests.integration.running import (
    CODEC,
    DEADLINE,
    NAMESPACE,
    SHARDS,
    Process,
    assert_nothing_open,
    process,
    signal_of,
)

LARGE = "x" * 300_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "holdfast.db"


@step
async def renewed_step(name: str) -> str:
    return f"{name}!"


@workflow
async def renewed_counter(left: int, heard: list[str]) -> list[str]:
    """One signal an incarnation."""
    told = (await signal("note", str))[:10]
    return [*heard, told] if left == 0 else continue_as_new(left - 1, [*heard, told])


@workflow
async def renewed_child(left: int) -> str:
    if left:
        async with asyncio.TaskGroup() as group:
            group.create_task(renewed_step("given up"))
            await asyncio.sleep(0)
            continue_as_new(left - 1)
    return await renewed_step("grown")


@workflow
async def renewed_parent(left: int) -> str:
    return await renewed_child(left)


@workflow
async def renewed_for_ever(number: int) -> int:
    return continue_as_new(number + 1)


@workflow(continue_after=3)
async def renewed_by_length(seen: list[int]) -> list[int]:
    while not workflow.info().should_continue:
        await renewed_step("one")
    info = workflow.info()
    if info.incarnation == 2:
        return [*seen, info.history_length]
    return continue_as_new([*seen, info.history_length])


@effect(guard="at_most_once")
async def renewed_payment() -> str:
    raise ConnectionError("nobody knows")


@workflow
async def renewed_payer(left: int, receipts: list[str]) -> list[str]:
    receipt = await renewed_payment()
    return [*receipts, receipt] if left == 0 else continue_as_new(left - 1, [*receipts, receipt])


async def told(running: Process, run_id: str, incarnation: int) -> list[str]:
    return [one.type for one in await running.store.incarnation(run_id, incarnation)]


async def test_signals_that_nobody_has_taken_go_along(file: Path) -> None:
    async with process(file) as running:
        notes = ["a", LARGE, "c", "d"]
        for number, note in enumerate(notes):  # before the run: all of them are there at once
            payload = signal_of("note", note, f"m{number}")
            await running.send("r", payload)
        await running.start("renewed_counter", "r", {"left": 3, "heard": []})
        assert await running.result("r") == [note[:10] for note in notes]
        assert (await told(running, "r", 0))[-1] == "RunContinued"
        await running.until_empty_log()
        await assert_nothing_open(running.store)


async def test_a_run_is_taken_up_in_its_last_incarnation_by_a_successor(file: Path) -> None:
    async with process(file) as running:
        await running.start("renewed_counter", "r", {"left": 2, "heard": []})
        await running.send("r", signal_of("note", "a", "m0"))
        async with asyncio.timeout(20):
            while not await told(running, "r", 1):
                await asyncio.sleep(0.01)
        await running.crash()
    async with process(file) as running:
        await running.send("r", signal_of("note", "a", "m0"))  # said again: it was heard before
        await running.start("renewed_counter", "r", {"left": 2, "heard": []})  # and so was its start
        await running.send("r", signal_of("note", "b", "m1"))
        await running.send("r", signal_of("note", "c", "m2"))
        assert await running.result("r") == ["a", "b", "c"]
        assert [(await told(running, "r", number))[0] for number in range(3)] == ["RunStarted"] * 3


async def test_a_parent_waits_for_the_last_incarnation_of_its_child(file: Path) -> None:
    async with process(file) as running:
        await running.start("renewed_parent", "p", 3)
        assert await running.result("p") == "grown!"
        stored = await running.until_status("p:renewed_child#1", COMPLETED)
        assert stored.row.incarnation == 3


async def test_a_cancellation_reaches_the_present_incarnation(file: Path) -> None:
    async with process(file) as running:
        await running.start("renewed_counter", "r", {"left": 2, "heard": []})
        await running.send("r", signal_of("note", "a", "m0"))
        async with asyncio.timeout(20):
            while not await told(running, "r", 1):
                await asyncio.sleep(0.01)
        await running.submit("r", CancelRun(reason="enough"))
        stored = await running.until_status("r", CANCELLED)
        assert stored.row.incarnation == 1


async def test_a_run_that_goes_on_as_new_and_never_waits_is_parked(file: Path) -> None:
    async with process(file) as running:
        await running.start("renewed_for_ever", "r", 0)
        parked = await running.parked("r")
        assert parked.reason == "never_waits"
        await running.start("renewed_parent", "p", 0)
        assert await running.result("p") == "grown!"


async def test_a_workflow_knows_how_long_its_history_is(file: Path) -> None:
    async with process(file) as running:
        await running.start("renewed_by_length", "r", [])
        assert await running.result("r") == [3, 3, 3]


def test_only_workflow_code_goes_on_as_new() -> None:
    with pytest.raises(RuntimeError, match="continue_as_new"):
        continue_as_new(1)


async def parked_payment(running: Process, incarnation: int) -> Effect:
    """Wait until the payment of this incarnation waits for a person."""
    async with asyncio.timeout(DEADLINE):
        while True:
            for one in await running.ledger.effects(states=[PARKED]):
                if one.incarnation == incarnation:
                    return one
            await asyncio.sleep(0.01)


async def test_a_verdict_is_for_the_incarnation_whose_effect_the_person_saw(file: Path) -> None:
    async with process(file) as running:
        sent: list[Addressed] = []

        async def send(run_id: str, command: Command, _: Mapping[str, bytes], incarnation: int) -> None:
            sent.append(Addressed(run_id, command, incarnation))
            await running.orchestrator.submit(sent[-1])

        resolutions = Resolutions(running.ledger, send)
        await running.start("renewed_payer", "r", {"left": 1, "receipts": []})
        first = await parked_payment(running, 0)
        await resolutions.resolve(first, Verdict(decision="succeeded", by="ann", reason="seen", data=b'"first"'))
        second = await parked_payment(running, 1)
        assert (second.step_id, second.version) == (first.step_id, first.version)
        await running.orchestrator.submit(sent[0])  # the log gives it again
        await resolutions.resolve(second, Verdict(decision="succeeded", by="ann", reason="seen", data=b'"second"'))
        assert await running.result("r") == ["first", "second"]


class Said:
    """What was published; the embedded log keeps no events, for history is their record."""

    def __init__(self) -> None:
        self.records: list[Outgoing] = []

    async def publish(self, records: Sequence[Outgoing]) -> None:
        self.records += records


async def test_the_events_of_a_closed_incarnation_are_published_again(file: Path) -> None:
    async with process(file) as running:
        await running.start("renewed_by_length", "r", [])
        await running.until_ended("r")
        wire = Wire(Topics(NAMESPACE), CODEC, SHARDS)
        said = Said()
        republisher = Republisher(running.store, cast("Log", said), CODEC, wire, SchemaCache(CODEC))
        number = await republisher.republish(0, 2**62, outcomes=False)
        told = [dict(one.headers)["ce_id"].decode() for one in said.records]
        stored = [await running.store.incarnation("r", incarnation) for incarnation in range(3)]
        assert told == [f"r/{one.incarnation}/{one.seq}" for history in stored for one in history]
        assert number == len(told)
