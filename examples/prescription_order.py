"""Glasses on prescription: an optician's note comes in, a confirmation goes out.

    holdfast dev examples/prescription_order.py
    holdfast start prescription_order --id order-1 --input '{"order": "order-1", "note": "R -2.00 L -1.75 PD 63",
        "frame": {"model": "Aurora", "size": "52-18-140"}, "amount": 8900, "currency": "EUR"}' --wait

A model reads the note; the frame is reserved while the lenses are ground; the card is charged, once, wherever you kill
it. A note that the model cannot read waits for a person:
    holdfast signal order-1 clarified --input '"R -2.00 L -1.75 PD 63"'

OPENAI_BASE_URL and OPENAI_API_KEY name the model's provider, OPENAI_MODEL the model, PAYMENTS_URL the payment provider.
"""

import asyncio
import os
from typing import Literal
from weakref import WeakKeyDictionary

import aiohttp
import msgspec
from openai import AsyncOpenAI

from holdfast import GIVEN, Refused, Retry, StepError, days, effect, hours, signal, step, workflow

HANDS = float(os.environ.get("WORKSHOP_SECONDS", "0.1"))  # how long a hand takes in this workshop


class Frame(msgspec.Struct, frozen=True):
    model: str
    size: str


class Order(msgspec.Struct, frozen=True):
    order: str
    note: str
    frame: Frame
    amount: int
    currency: str


class Prism(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dioptres: float
    base: str


class Eye(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sphere: float
    cylinder: float
    axis: int
    prism: Prism | None


class Prescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the model is asked for: both eyes, or a question."""

    right: Eye | None
    left: Eye | None
    add: float | None
    pd: float | None
    readable: bool
    question: str | None


class Receipt(msgspec.Struct, frozen=True):
    id: str
    amount: int


class Confirmation(msgspec.Struct, frozen=True, kw_only=True):
    order: str
    status: Literal["confirmed", "declined", "needs_a_person"]
    frame: str | None = None
    lenses: str | None = None
    receipt: Receipt | None = None
    question: str | None = None


class Declined(Refused):
    """The bank says no, and says so again whenever it is asked under the same key."""


@step(retry=Retry(attempts=0, maximum=10.0), timeout=60.0)
async def read_prescription(note: str) -> Prescription:
    answer = await model().chat.completions.create(
        model=os.environ.get("OPENAI_MODEL", "gpt-4o-mini"),
        messages=[
            {"role": "system", "content": "Read the prescription as JSON. Never guess: ask if anything is unclear."},
            {"role": "user", "content": f"<note>{note}</note>"},
        ],
        response_format={"type": "json_schema", "json_schema": {"name": "prescription", "schema": SCHEMA}},
    )
    return msgspec.json.decode(answer.choices[0].message.content or "", type=Prescription)


@step
async def reserve(frame: Frame) -> str:
    await asyncio.sleep(HANDS)
    return f"{frame.model} {frame.size}"


@step
async def grind(rx: Prescription) -> str:
    await asyncio.sleep(2 * HANDS)
    return ", ".join(f"{eye.sphere:+.2f} {eye.cylinder:+.2f} x {eye.axis}" for eye in (rx.right, rx.left) if eye)


@effect(guard="provider_key", window=hours(24), retry=Retry(attempts=0, maximum=10.0))
async def charge(order: Order, *, key: str = GIVEN) -> Receipt:
    body = {"order": order.order, "amount": order.amount, "currency": order.currency}
    async with (
        aiohttp.ClientSession(os.environ["PAYMENTS_URL"]) as payments,
        payments.post("/v1/charges", json=body, headers={"Idempotency-Key": key}) as answer,
    ):
        if answer.status == 402:
            raise Declined(order.order, stored=True)
        answer.raise_for_status()  # unclear: the same key is tried again, and the provider charges once
        return msgspec.json.decode(await answer.read(), type=Receipt)


@workflow
async def prescription_order(order: Order) -> Confirmation:
    rx = await read_prescription(order.note)
    while not rx.readable:
        try:
            async with asyncio.timeout(days(10)):
                note = await signal("clarified", str)
        except TimeoutError:
            return Confirmation(order=order.order, status="needs_a_person", question=rx.question)
        rx = await read_prescription(note)
    frame, lenses = await asyncio.gather(reserve(order.frame), grind(rx))
    try:
        receipt = await charge(order)
    except StepError as error:
        if error.failure.type != Declined.__name__:
            raise
        return Confirmation(order=order.order, status="declined", frame=frame, lenses=lenses)
    return Confirmation(order=order.order, status="confirmed", frame=frame, lenses=lenses, receipt=receipt)


_, _components = msgspec.json.schema_components([Prescription], ref_template="#/$defs/{name}")
SCHEMA = _components["Prescription"] | {"$defs": _components}
_models: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncOpenAI] = WeakKeyDictionary()


def model() -> AsyncOpenAI:
    """Keep one client, with its connections, for each event loop; attempts are Holdfast's, not the client's."""
    loop = asyncio.get_running_loop()
    if loop not in _models:
        _models[loop] = AsyncOpenAI(max_retries=0)
    return _models[loop]
