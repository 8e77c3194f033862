"""The files of examples/tour/ run as they stand."""

from pathlib import Path

from examples.tour import children
from holdfast.core.run import COMPLETED
from tests.integration.running import process


async def test_the_children_of_the_tour_come_back_or_say_why_not(tmp_path: Path) -> None:
    async with process(tmp_path / "holdfast.db") as running:
        await running.start(children.ship_order.name, "order-7", ["tea", "glass"])
        assert await running.result("order-7") == ["tea delivered", "lost: it broke"]
        await running.until_status("order-7:invoice#1", COMPLETED)
