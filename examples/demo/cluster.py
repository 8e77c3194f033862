"""Two orchestrators and two workers on real Kafka, PostgreSQL and Redis; every process and every server goes down.

Law: each of the four processes is killed equally often, each server is restarted once, in an order drawn from the seed.
"""

import asyncio
import random
from pathlib import Path

from examples.demo.orders import Customers
from examples.demo.processes import run
from examples.demo.servers import NAMES, Servers
from examples.demo.shop import HOLDFAST, Shop, killed, open_shop, share
from examples.demo.view import View

PATIENCE = 120.0
SERVICES = {
    "orchestrator-1": "orchestrator",
    "orchestrator-2": "orchestrator",
    "worker-1": "worker",
    "worker-2": "worker",
}


async def play(folder: Path, *, orders: int, kills: int, seed: int) -> tuple[Customers, View]:
    """Play the demo."""
    servers = Servers(folder / "servers")
    try:
        print("starting Kafka, PostgreSQL and Redis …", flush=True)
        await servers.start()
        settings = servers.settings("demo")
        await run(*HOLDFAST, "install", environment=settings)
        title = f"{orders} orders on a cluster, {kills} × kill -9, each server restarted\nseed {seed}, logs in {folder}"
        async with open_shop(folder, settings, SERVICES, orders=orders) as shop:
            await everyone_ready(shop)
            with View(title, shop.customers) as view:
                await perform(shop, servers, view, kills=kills, chance=random.Random(seed))
        return shop.customers, view
    finally:
        await servers.wipe()


async def perform(shop: Shop, servers: Servers, view: View, *, kills: int, chance: random.Random) -> None:
    """Let everything go down in turn, then let the rest complete."""
    names = list(shop.services)
    acts = [*NAMES, *(names[number % len(names)] for number in range(kills))]
    chance.shuffle(acts)
    for place, name in enumerate(acts):
        shop.customers.place(share(len(shop.customers.orders), len(acts), place))
        if name in NAMES:
            await everyone_ready(shop)  # a service that cannot reach its servers when it starts says so and ends
            view.tell(f"{name} goes down")
            await servers.stop(name)
            await servers.start(name)
            view.tell(f"{name} is up again")
            continue
        service = shop.services[name]
        if await killed(service, chance):
            view.kills += 1
            view.tell(f"kill -9 {service.pid} ({name})")
        await service.start()
    view.tell("no more kills: what is left completes")
    await shop.customers.finish(PATIENCE)
    view.tell("done")


async def everyone_ready(shop: Shop) -> None:
    """Wait until all services serve."""
    await asyncio.gather(*(service.ready() for service in shop.services.values()))
