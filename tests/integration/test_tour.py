"""The files of examples/tour/ run as they stand."""

from pathlib import Path

import pytest

from examples.tour import cancelled, children, continuing, retries, sagas
from holdfast.core.commands import ResumeRun, SignalRun
from holdfast.core.payload import Payload
from holdfast.core.run import COMPLETED, PARKED
from tests.integration.running import process


async def test_the_children_of_the_tour_come_back_or_say_why_not(tmp_path: Path) -> None:
    async with process(tmp_path / "holdfast.db") as running:
        await running.start(children.ship_order.name, "order-7", ["tea", "glass"])
        assert await running.result("order-7") == ["tea delivered", "lost: it broke"]
        await running.until_status("order-7:invoice#1", COMPLETED)


async def test_a_step_of_the_tour_asks_for_time_gives_up_or_waits_for_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with process(tmp_path / "holdfast.db") as running:
        await running.start(retries.settle_invoice.name, "invoice-8", {"account": "FR-1", "cents": 1})
        assert await running.result("invoice-8") == "not settled: there is no account FR-1"
        await running.start(retries.settle_invoice.name, "invoice-7", {"account": "DE-12", "cents": 4200})
        await running.until_status("invoice-7", PARKED)
        retries.BANK.touch()
        await running.send("invoice-7", ResumeRun(by="ada"))
        assert await running.result("invoice-7") == "4200 cents to owner of DE-12"


async def test_a_saga_of_the_tour_gives_back_what_was_booked_the_last_first(tmp_path: Path) -> None:
    async with process(tmp_path / "holdfast.db") as running:
        await running.start(sagas.book_trip.name, "trip-7", "Oslo")
        assert await running.result("trip-7") == "trip to Oslo"
        assert sagas.given_back == []
        await running.start(sagas.book_trip.name, "trip-8", "Atlantis")
        assert await running.result("trip-8") == "no trip: there is no hotel in Atlantis"
        assert sagas.given_back == ["car in Atlantis", "flight in Atlantis"]


async def test_a_plain_function_of_the_tour_stops_when_its_time_is_over(tmp_path: Path) -> None:
    async with process(tmp_path / "holdfast.db") as running:
        await running.start(cancelled.print_catalogue.name, "catalogue-7", 3)
        assert await running.result("catalogue-7") == "3 pages"
        await running.until(lambda: bool(cancelled.stopped_at))


async def test_the_account_of_the_tour_goes_on_as_new_and_loses_no_deposit(tmp_path: Path) -> None:
    async with process(tmp_path / "holdfast.db") as running:
        await running.start(continuing.account.name, "account-7", 0)
        for number in range(1, 12):
            deposit = Payload(data=b"%d" % (number % 11))  # the last one is nothing, and closes it
            await running.send("account-7", SignalRun(name="deposit", message_id=f"deposit-{number}", input=deposit))
        assert await running.result("account-7") == 55
        stored = await running.store.history("account-7")
        assert stored is not None
        assert stored.row.incarnation > 1
