"""One process on one file, killed and started again, with orders under way each time."""

import random
from pathlib import Path

from examples.demo.orders import Customers
from examples.demo.shop import killed, open_shop, share
from examples.demo.view import View

PATIENCE = 60.0


async def play(folder: Path, *, orders: int, kills: int, seed: int) -> tuple[Customers, View]:
    """Play the demo."""
    chance = random.Random(seed)
    settings = {"HOLDFAST_STORE": f"sqlite:///{folder / 'holdfast.db'}"}
    title = f"{orders} orders on one embedded file, {kills} × kill -9\nseed {seed}, logs in {folder}"
    async with open_shop(folder, settings, {"dev": "dev"}, orders=orders) as shop:
        dev, customers = shop.services["dev"], shop.customers
        with View(title, customers) as view:
            for life in range(kills):
                customers.place(share(orders, kills, life))
                if await killed(dev, chance):
                    view.kills += 1
                    view.tell(f"kill -9 {dev.pid}")
                await dev.start()
            view.tell("no more kills: what is left completes")
            await customers.finish(PATIENCE)
            view.tell("done")
    return customers, view
