"""Child runs on the cluster: commands from run to run go over Kafka, the truth is in PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from holdfast import ChildFailed, Client, Retry, detached, signal, step, workflow
from tests.integration.bus import Running, running, settings_on
from tests.servers import Servers

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]


@step(retry=Retry(attempts=1))
async def bus_weigh(grams: int) -> int:
    if grams < 0:
        raise ValueError("less than nothing")
    return grams


@workflow
async def bus_parcel(grams: int) -> int:
    return await bus_weigh(grams)


@workflow
async def bus_patient_parcel(grams: int) -> int:
    return grams + int(await signal("more", int))


@workflow
async def bus_shipment(weights: list[int]) -> list[str]:
    found = await asyncio.gather(*(bus_parcel(grams) for grams in weights), return_exceptions=True)
    return [one.failure.message if isinstance(one, ChildFailed) else str(one) for one in found]


@workflow
async def bus_waits(grams: int) -> int:
    return await bus_patient_parcel.options(id="waited-for")(grams)


@workflow
async def bus_leaves(grams: int) -> str:
    return await detached(bus_patient_parcel, grams)


@pytest.fixture(params=[True, False], ids=["local", "separate"])
async def here(servers: Servers, namespace: str, request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    async with running(settings_on(servers, namespace), local=request.param) as one:
        yield one


async def test_children_come_back_over_the_bus(here: Running) -> None:
    weights = list(range(40))
    await here.client.start(bus_shipment, [*weights, -1], id="order-1")
    assert await here.result("order-1") == [*map(str, weights), "less than nothing"]


async def test_cancelling_a_parent_reaches_its_child(here: Running) -> None:
    await here.client.start(bus_waits, 1, id="order-2")
    await here.stored("waited-for", "RUNNING")
    await here.client.cancel("order-2")
    await here.stored("order-2", "CANCELLED")
    await here.stored("waited-for", "CANCELLED")


async def test_a_detached_child_goes_on_when_its_parent_has_ended(here: Running) -> None:
    client: Client = here.client
    await client.start(bus_leaves, 1, id="order-3")
    child = await here.result("order-3")
    await client.signal(child, "more", 2)
    assert await here.result(child) == 3
