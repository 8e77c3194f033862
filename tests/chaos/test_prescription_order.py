"""The example's other endings: a note that only a person can read, and a card that is declined."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from examples.demo.orders import readable_orders
from examples.demo.shop import Shop, open_shop
from examples.providers.book import read_book
from holdfast import RunHandle
from tests.chaos.stories import Stage

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]


def order(**changes: Any) -> dict[str, Any]:
    return readable_orders(1)[0] | changes


async def first_reading(shop: Shop, run: str) -> None:
    while True:
        stored = await shop.client.profile.store.history(run)
        if stored is not None and any(event.type == "StepCompleted" for event in stored.history):
            return
        await asyncio.sleep(0.05)


async def test_a_note_that_nobody_can_read_waits_for_a_person_though_the_process_is_killed(tmp_path: Path) -> None:
    stage = Stage(tmp_path, runs=0, seed=0)
    async with open_shop(tmp_path, await stage.settings(), {"dev": "dev"}, orders=0, latency=0.05) as shop:
        dev, client = shop.services["dev"], shop.client
        run: RunHandle[Any] = await client.start(
            "prescription_order", order(order="unclear", note="the usual :-)"), id="unclear"
        )
        await first_reading(shop, "unclear")
        await dev.kill()
        for _ in range(2):  # a person who is not sure that the first message went out
            await client.signal("unclear", "clarified", "R -2.00 L -1.75 PD 63", message_id="call-1")
        await dev.start()
        assert (await run.result())["status"] == "confirmed"
        stored = await client.profile.store.history("unclear")
        assert stored is not None
        assert sum(event.type == "SignalReceived" for event in stored.history) == 1
        assert [charge.order for charge in read_book(shop.customers.book)] == ["unclear"]


async def test_a_declined_card_is_told_to_the_customer_and_not_tried_again(tmp_path: Path) -> None:
    stage = Stage(tmp_path, runs=0, seed=0)
    async with open_shop(tmp_path, await stage.settings(), {"dev": "dev"}, orders=0, latency=0.05) as shop:
        run: RunHandle[Any] = await shop.client.start("prescription_order", order(order="poor", amount=1013), id="poor")
        confirmation = await run.result()
        assert (confirmation["status"], confirmation["receipt"]) == ("declined", None)
        assert read_book(shop.customers.book) == []
        stored = await shop.client.profile.store.history("poor")
        assert stored is not None
        assert not any(event.type == "StepRetried" for event in stored.history)
