"""The order of the storm: hands, money, an entry in the shop's database, a rest, a parcel; every guard has its part.

Law: a request to the provider that is on its way takes effect within LIFETIME, or never: the storm holds nothing up for
so long. That is what a `lookup` rests on, and the person who decides on what is parked.
"""

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Literal

import aiohttp
import msgspec

from holdfast import GIVEN, NotSent, Retry, effect, hours, signal, step, workflow
from holdfast.sdk.sending import Unclear

LIFETIME = 20.0
PATIENCE = aiohttp.ClientTimeout(total=8.0)
HANDS = 0.02
AGAIN = Retry(attempts=0, initial=0.2, maximum=3.0)

Pay = Literal["charge", "transfer", "collect"]
PAYS: tuple[Pay, ...] = ("charge", "transfer", "collect")


class Order(msgspec.Struct, frozen=True):
    order: str
    amount: int
    pay: Pay
    rest: float


class Receipt(msgspec.Struct, frozen=True):
    id: str
    amount: int


class Parcel(msgspec.Struct, frozen=True):
    number: str


class Delivered(msgspec.Struct, frozen=True):
    order: str
    hands: list[str]
    receipt: Receipt
    entered: int
    parcel: str


@step(retry=AGAIN, timeout=10.0)
async def pick(order: Order) -> str:
    await asyncio.sleep(HANDS)
    return f"picked {order.order}"


@step(retry=AGAIN, timeout=10.0)
async def pack(order: Order) -> str:
    await asyncio.sleep(HANDS)
    return f"packed {order.order}"


@effect(guard="provider_key", window=hours(24), retry=AGAIN, timeout=15.0, name="weather_charge")
async def charge(order: Order, *, key: str = GIVEN) -> Receipt:
    return await _pay(order, {"Idempotency-Key": key})


@effect(guard="lookup", lifetime=LIFETIME, retry=AGAIN, timeout=15.0, name="weather_transfer")
async def transfer(order: Order) -> Receipt:
    return await _pay(order, {})


@transfer.lookup
async def find_transfer(order: Order) -> Receipt | None:
    async with (
        aiohttp.ClientSession(os.environ["PAYMENTS_URL"], timeout=PATIENCE) as payments,
        payments.get("/v1/charges", params={"order": order.order}) as answer,
    ):
        answer.raise_for_status()
        found: list[Any] = msgspec.json.decode(await answer.read())["data"]
        return msgspec.convert(found[0], Receipt) if found else None


@effect(guard="at_most_once", retry=AGAIN, timeout=15.0)
async def collect(order: Order) -> Receipt:
    return await _pay(order, {})


PAYMENTS: Mapping[Pay, str] = {"charge": charge.name, "transfer": transfer.name, "collect": collect.name}


@effect(guard="transaction", database="shop", retry=AGAIN, timeout=15.0)
async def enter(order: Order, *, connection: Any = GIVEN) -> int:
    await connection.execute(f"INSERT INTO entries VALUES ('{order.order}', {order.amount})")
    return order.amount


async def _pay(order: Order, headers: dict[str, str]) -> Receipt:
    body = {"order": order.order, "amount": order.amount, "currency": "EUR"}
    try:
        async with (
            aiohttp.ClientSession(os.environ["PAYMENTS_URL"], timeout=PATIENCE) as payments,
            payments.post("/v1/charges", json=body, headers=headers) as answer,
        ):
            if answer.status == 429:
                raise NotSent("too many requests: nothing was executed")
            if answer.status == 500 and headers:
                raise Unclear("the provider failed, and keeps that answer under the key", repeats=True)
            answer.raise_for_status()  # unclear
            return msgspec.json.decode(await answer.read(), type=Receipt)
    except aiohttp.ClientConnectorError as error:
        raise NotSent(str(error)) from error


@workflow
async def storm_order(order: Order) -> Delivered:
    hands = await asyncio.gather(pick(order), pack(order))
    if order.pay == "charge":
        receipt = await charge(order)
    elif order.pay == "transfer":
        receipt = await transfer(order)
    else:
        receipt = await collect(order)
    entered = await enter(order)
    await asyncio.sleep(order.rest)
    parcel = await signal("shipped", Parcel)
    return Delivered(order=order.order, hands=list(hands), receipt=receipt, entered=entered, parcel=parcel.number)
