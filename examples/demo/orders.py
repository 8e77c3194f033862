"""The customers of the demo: they place orders, wait for confirmations, and count what came of it.

Law: what counts as charged is what stands in the provider's own book, not what anybody was told.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from examples.demo.processes import ROOT
from examples.providers.book import charged_twice, read_book
from holdfast import Client, RunHandle
from holdfast.ports.log import Unreachable
from holdfast.ports.unavailable import Unavailable
from holdfast.settings import load

NOTES = ROOT / "examples" / "data" / "notes.jsonl"
READABLE = 40  # the notes beyond are for a person
PAUSE = 0.2


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the orders."""

    orders: int
    outcomes: int
    charges: int
    charged_twice: int
    lost: int

    @property
    def holds(self) -> bool:
        """Whether each order was confirmed and charged, once."""
        return self.orders == self.outcomes == self.charges and not self.charged_twice and not self.lost


def readable_orders(number: int) -> list[dict[str, Any]]:
    """Give `number` orders whose notes can be read; beyond the file's, its notes come again under other numbers."""
    lines = NOTES.read_text(encoding="utf-8").splitlines()[:READABLE]
    found = []
    for place in range(number):
        order = json.loads(lines[place % READABLE])
        del order["card"]
        if place >= READABLE:
            order["order"] += f"-{place // READABLE + 1}"
        found.append(order)
    return found


@asynccontextmanager
async def open_client(settings: Mapping[str, str]) -> AsyncIterator[Client]:
    """Open a client of the installation that `settings` describe."""
    async with Client(load(environ=settings)) as client:
        yield client


class Customers:
    """Orders that are placed one by one, each waited for by its own customer."""

    def __init__(self, client: Client, orders: list[dict[str, Any]], book: Path) -> None:
        self.orders = orders
        self.placed = 0
        self.outcomes: dict[str, dict[str, Any]] = {}
        self._client = client
        self.book = book
        self._waiting: list[asyncio.Task[None]] = []

    def place(self, number: int, apart: float = 0.2) -> None:
        """Let the next `number` orders be placed, one after the other."""
        for place in range(number):
            order = self.orders[len(self._waiting)]
            self._waiting.append(asyncio.create_task(self._buy(order, place * apart)))

    async def finish(self, patience: float) -> None:
        """Wait until every customer has an answer, or until patience ends."""
        if self._waiting:
            await asyncio.wait(self._waiting, timeout=patience)

    async def leave(self) -> None:
        """Stop waiting; an error of a customer is raised here."""
        for task in self._waiting:
            if not task.done():
                task.cancel()
        for left in await asyncio.gather(*self._waiting, return_exceptions=True):
            if isinstance(left, Exception):
                raise left

    def tally(self) -> Tally:
        """Count."""
        charges = read_book(self.book)
        confirmed = [order for order, outcome in self.outcomes.items() if outcome["status"] == "confirmed"]
        return Tally(
            orders=len(self.orders),
            outcomes=len(confirmed),
            charges=len(charges),
            charged_twice=len(charged_twice(charges)),
            lost=len(self.orders) - len(self.outcomes),
        )

    def count(self) -> dict[str, int]:
        """Give the figures of this moment."""
        return {"placed": self.placed, "confirmed": len(self.outcomes), "charged": len(read_book(self.book))}

    async def _buy(self, order: dict[str, Any], later: float) -> None:
        """Place one order and wait; a server out of reach is a reason to ask again, not to give up."""
        await asyncio.sleep(later)
        self.placed += 1
        while True:
            try:
                run: RunHandle[Any] = await self._client.start("prescription_order", order, id=order["order"])
                self.outcomes[order["order"]] = await run.result()
                return
            except (Unavailable, Unreachable):
                await asyncio.sleep(PAUSE)
