"""The shop's own databases: one entry an order by a `transaction` effect, and nothing that would stop a second one."""

import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import psycopg

from examples.demo.processes import run
from examples.demo.shop import HOLDFAST

SETTING = "HOLDFAST_DATABASES_SHOP"
TABLE = "CREATE TABLE entries (order_id text NOT NULL, amount int NOT NULL)"
COUNT = "SELECT order_id FROM entries"
SQLITE = "sqlite:///"


async def prepare(settings: Mapping[str, str]) -> None:
    """Make the shop's table and the ledger's in the database that `settings` name."""
    url = settings[SETTING]
    if url.startswith(SQLITE):
        with closing(sqlite3.connect(Path(url.removeprefix(SQLITE)))) as shop:
            shop.execute(TABLE)
    else:
        async with await psycopg.AsyncConnection.connect(url) as shop_there:
            await shop_there.execute(TABLE)
    await run(*HOLDFAST, "ledger", "install", "shop", environment=dict(settings))


async def entered(settings: Mapping[str, str]) -> Counter[str]:
    """Count the entries of each order."""
    url = settings[SETTING]
    if url.startswith(SQLITE):
        with closing(sqlite3.connect(Path(url.removeprefix(SQLITE)))) as shop:
            return Counter(order for (order,) in shop.execute(COUNT))
    async with await psycopg.AsyncConnection.connect(url) as shop_there:
        rows = await shop_there.execute(COUNT)
        return Counter(order for (order,) in await rows.fetchall())
