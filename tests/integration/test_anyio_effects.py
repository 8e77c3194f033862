"""Scopes and groups of anyio that end around effects in flight, through the real loops over a real file."""

import asyncio
from pathlib import Path

import anyio
import httpx
import pytest

from holdfast.sdk.definitions import Retry, StepError, seconds, step, workflow
from holdfast.sdk.effects import effect
from holdfast.sdk.values import GIVEN
from tests.integration.running import assert_nothing_open, assert_whole, process

begun: dict[str, asyncio.Event] = {}
gates: dict[str, asyncio.Event] = {}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    begun.clear()
    gates.clear()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "holdfast.db"


@effect(guard="provider_key", window=seconds(600), margin=seconds(1))
async def scope_pay(name: str, *, key: str = GIVEN) -> str:
    begun[name].set()
    await gates[name].wait()
    return f"receipt {key[:0]}of {name}"


@step
async def scope_answer() -> int:
    return 42


@step(retry=Retry(attempts=1))
async def scope_fail(name: str) -> None:
    await begun[name].wait()
    raise ValueError("the other task")


@workflow
async def scope_fine() -> int:
    return await scope_answer()


@workflow
async def scope_within(name: str) -> str:
    receipt = "nothing"
    try:
        with anyio.fail_after(0.3):
            receipt = await scope_pay(name)
            await anyio.sleep_forever()
    except TimeoutError:
        return f"late, {receipt}"
    return receipt


@workflow
async def scope_in_group(name: str) -> str:
    receipts: list[str] = []

    async def paying() -> None:
        receipts.append(await scope_pay(name))

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(paying)
            group.start_soon(scope_fail.options(id="fails"), name)
    except* StepError:
        pass
    return f"late, {receipts[0]}"


@workflow
async def scope_in_group_of_asyncio(name: str) -> str:
    with anyio.move_on_after(0.3):
        async with asyncio.TaskGroup() as group:
            paying = group.create_task(scope_pay(name))
    return f"late, {paying.result()}"


@workflow
async def scope_fetch(url: str) -> str:
    async with httpx.AsyncClient() as client:
        with anyio.fail_after(5):
            return (await client.get(url)).text


WORKFLOWS = pytest.mark.parametrize("name", ["scope_within", "scope_in_group", "scope_in_group_of_asyncio"])


@WORKFLOWS
async def test_a_scope_that_ends_around_an_effect_stops_nobody_and_gives_the_receipt(file: Path, name: str) -> None:
    begun["a"], gates["a"] = asyncio.Event(), asyncio.Event()
    async with process(file) as engine:
        await engine.start(name, "a", "a")
        await engine.until_recorded("a", "StepWithdrawn")
        await engine.start("scope_fine", "b")
        assert await engine.result("b") == 42
        gates["a"].set()
        assert await engine.result("a") == "late, receipt of a"
        assert (await engine.kinds("a")).count("StepWithdrawn") == 1
        await assert_whole(engine.store, "a", "b")
        await assert_nothing_open(engine.store)


@WORKFLOWS
async def test_a_process_that_dies_under_such_an_effect_is_followed_by_one_that_knows(file: Path, name: str) -> None:
    begun["a"], gates["a"] = asyncio.Event(), asyncio.Event()
    async with process(file) as engine:
        await engine.start(name, "a", "a")
        await engine.until_recorded("a", "StepWithdrawn")
    gates["a"].set()
    async with process(file, "p2", cache_bytes=0) as engine:
        await engine.start("scope_fine", "b")
        assert await engine.result("b") == 42
        assert await engine.result("a") == "late, receipt of a"
        await assert_whole(engine.store, "a", "b")


async def test_a_client_of_the_network_in_a_scope_of_workflow_code_is_refused_and_parked(file: Path) -> None:
    async with process(file) as engine:
        await engine.start("scope_fetch", "a", "http://127.0.0.1:9/")
        parked = await engine.parked("a")
        assert parked.reason == "not_deterministic"
        assert "create_connection in workflow code is refused" in parked.detail
        assert "return (await client.get(url)).text" in parked.detail
        assert "Move it into a step" in parked.detail
        await engine.start("scope_fine", "b")
        assert await engine.result("b") == 42
