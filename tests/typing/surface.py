"""What a type checker must know of the author's code. Read by mypy, never run: see test_surface.py.

An `assert_type` that does not hold is an error, and so is an ignored error that is not there.
"""

import asyncio
import dataclasses
from typing import Any, assert_type

import holdfast
from holdfast import GIVEN, Client, Retry, effect, hours, signal, step, workflow

_ = holdfast.Clent  # type: ignore[attr-defined]  # the mistake to be noticed


@dataclasses.dataclass
class Order:
    number: int


@dataclasses.dataclass
class Receipt:
    amount: int


@step
async def bare(order: Order, count: int = 1) -> Receipt:
    return Receipt(order.number * count)


@step
def thread(order: Order) -> Receipt:
    return Receipt(order.number)


@step(retry=Retry(attempts=2), queue="cnc")
async def with_options(text: str) -> list[int]:
    return [len(text)]


@step(timeout=5)
def thread_with_options(text: str) -> int:
    return len(text)


@effect(guard="provider_key", window=hours(24))
async def charge(order: Order, *, key: str = GIVEN) -> Receipt:
    return Receipt(order.number)


@workflow
async def flow(order: Order) -> Receipt:
    assert_type(await bare(order), Receipt)
    assert_type(await thread(order), Receipt)
    assert_type(await with_options("x"), list[int])
    assert_type(await thread_with_options("x"), int)
    assert_type(await charge(order), Receipt)
    assert_type(await charge.options(id="left", queue="cnc")(order), Receipt)
    assert_type(await thread.options(timeout=3)(order), Receipt)
    assert_type(await signal("shipped", Receipt), Receipt)
    assert_type(await signal("anything"), Any)
    both = await asyncio.gather(bare(order), with_options("x"))
    assert_type(both, tuple[Receipt, list[int]])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(bare(order))
    assert_type(task.result(), Receipt)
    await bare("x")  # type: ignore[arg-type]  # the mistake to be noticed
    await bare(order, count="x")  # type: ignore[arg-type]  # the mistake to be noticed
    await bare(order, colour="x")  # type: ignore[call-arg]  # the mistake to be noticed
    await charge()  # type: ignore[call-arg]  # the mistake to be noticed
    await charge.options(id="x")("y")  # type: ignore[arg-type]  # the mistake to be noticed
    await bare.options(colour="x")(order)  # type: ignore[call-arg]  # the mistake to be noticed
    return await charge(order)


workflow.trust("retrying", "shop.loops")
workflow.log.info("order %d", 7, extra={"shop": "left"})
workflow.log.during_replay = False


@workflow(name="versioned", version="2")
async def versioned(number: int) -> str:
    return str(number)


async def outside(client: Client) -> None:
    run = await client.start(flow, Order(1), id="order-1")
    assert_type(await run.result(), Receipt)
    assert_type(await (await client.start(versioned, 5)).result(), str)
    assert_type(await flow(Order(1)), Receipt)
    await client.resolve(("order-1", "charge#1"), succeeded=Receipt(1), by="ada", reason="seen")
    await client.resolve("order-1/charge#1", retry=True)  # type: ignore[call-arg]  # the mistake to be noticed
    await flow("x")  # type: ignore[arg-type]  # the mistake to be noticed
