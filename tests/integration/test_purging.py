"""Purging through the real loops over a real file: what goes, what is said afterwards, and what is kept."""

from pathlib import Path

import pytest

from holdfast.app.client.run_client import RunPurged
from holdfast.core.commands import PurgeRun, SignalRun, StartRun
from holdfast.core.payload import Payload
from holdfast.core.run import DeadLetter
from holdfast.sdk.definitions import signal, step, workflow
from tests.integration.running import process, signal_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "holdfast.db"


@step
async def purging_step(name: str) -> str:
    return f"{name}!"


@workflow
async def purging_order(name: str) -> str:
    return await purging_step(name)


@workflow
async def purging_waiting(name: str) -> str:
    return f"{name} {await signal('go', str)}"


@workflow
async def purging_parent(name: str) -> str:
    return await purging_waiting.options(id="child")(name)


async def test_a_purged_run_is_gone_and_its_id_is_not_new_again(file: Path) -> None:
    async with process(file) as running:
        await running.start("purging_order", "r", "glass")
        await running.until_ended("r")
        await running.submit("r", PurgeRun())
        assert await running.store.tombstones(["r"])

        await running.submit("r", StartRun(workflow="purging_order", input=Payload(data=b'"glass"')))
        with pytest.raises(DeadLetter, match="Choose another run id"):
            await running.submit("r", StartRun(workflow="purging_order", input=Payload(data=b'"frame"')))
        with pytest.raises(DeadLetter, match="was purged: signal"):
            await running.submit("r", SignalRun(name="go", message_id="m"))
        assert await running.store.history("r") is None
        with pytest.raises(RunPurged, match="its history and result are no more"):
            await running.run_client.outcome("r")


async def test_the_law_holds_in_a_process_that_comes_later(file: Path) -> None:
    async with process(file) as running:
        await running.start("purging_order", "r", "glass")
        await running.until_ended("r")
        await running.submit("r", PurgeRun())
        assert await running.store.tombstones(["r"])
    async with process(file) as running:
        await running.start("purging_order", "r", "glass")
        await running.start("purging_order", "other", "glass")
        await running.until_ended("other")
        assert await running.store.history("r") is None


async def test_a_run_that_waits_is_kept_and_says_why(file: Path) -> None:
    async with process(file) as running:
        await running.start("purging_waiting", "r", "glass")
        await running.until_recorded("r", "RunStarted")
        with pytest.raises(DeadLetter, match="only a run that has ended can be purged"):
            await running.submit("r", PurgeRun())
        await running.submit("r", signal_of("go", "on"))
        await running.until_ended("r")
        await running.submit("r", PurgeRun())
        assert await running.store.tombstones(["r"])


async def test_a_child_is_purged_when_its_parent_has_heard_and_the_parent_keeps_the_result(file: Path) -> None:
    async with process(file) as running:
        await running.start("purging_parent", "parent", "glass")
        await running.until_recorded("child", "RunStarted")
        await running.submit("child", signal_of("go", "on"))
        await running.until_ended("parent")
        await running.submit("child", PurgeRun())
        assert await running.store.tombstones(["child"])
        assert await running.result("parent") == "glass on"
