"""The whole of an optician's shop: the world outside, Holdfast's processes, and customers at the door.

Law: what is killed here is killed at an instant that chance draws, mostly while it works, sometimes while it starts.
"""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from examples.demo.orders import Customers, open_client, readable_orders
from examples.demo.processes import ROOT, Process, Processes
from holdfast import Client

APP = ROOT / "examples" / "prescription_order.py"
HOLDFAST = (sys.executable, "-m", "holdfast.cli")
SHORTEST_LIFE, LONGEST_LIFE = 0.05, 1.0  # seconds, from the moment that a process is ready
LONGEST_START = 2.0
SLOW_MONEY = 3  # a charge takes this much longer than the rest, so that many a kill finds one under way
KILLED_STARTING = 0.2  # the share of kills that hit a process which is not up yet


@dataclass(frozen=True)
class Shop:
    """An open shop."""

    services: Mapping[str, Process]
    client: Client
    customers: Customers
    environment: Mapping[str, str]


@asynccontextmanager
async def open_shop(
    folder: Path, settings: Mapping[str, str], services: Mapping[str, str], *, orders: int, latency: float = 0.2
) -> AsyncIterator[Shop]:
    """Open a shop in `folder`; `services` gives each of Holdfast's processes its command. All ends with the block."""
    book = folder / "book.jsonl"
    async with Processes(folder) as processes:
        chat, payments = await asyncio.gather(
            processes.provider("chat", "--latency", str(latency)),
            processes.provider("payment", "--latency", str(SLOW_MONEY * latency), "--book", str(book)),
        )
        environment = {
            **settings,
            "OPENAI_BASE_URL": f"{chat}/v1",
            "OPENAI_API_KEY": "no-secret",
            "PAYMENTS_URL": payments,
            "WORKSHOP_SECONDS": str(latency),
        }
        started = {
            name: processes.new(name, (*HOLDFAST, command, str(APP)), environment, serves=True)
            for name, command in services.items()
        }
        await asyncio.gather(*(service.start() for service in started.values()))
        async with open_client(settings) as client:
            customers = Customers(client, readable_orders(orders), book)
            yield Shop(started, client, customers, environment)
            await customers.leave()


def share(orders: int, acts: int, act: int) -> int:
    """Give the number of orders that come in this act, so that there is work in every one of them."""
    return orders * (act + 1) // acts - orders * act // acts


async def killed(process: Process, chance: random.Random) -> bool:
    """Kill it at a random instant of its life, or of its way there; whether it lived until then."""
    if chance.random() < KILLED_STARTING:
        await asyncio.sleep(chance.uniform(0, LONGEST_START))
    else:
        await process.ready()
        await asyncio.sleep(chance.uniform(SHORTEST_LIFE, LONGEST_LIFE))
    return await process.kill()
