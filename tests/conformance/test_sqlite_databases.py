"""Effects' transactions in SQLite hold the laws of the port, and some of their own."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.adapters.databases import NamedDatabases
from holdfast.databases import Rows
from holdfast.ports.databases import Databases, TransactionEnded, UnknownDatabase
from holdfast.testing.conformance.databases import (
    HASH,
    DatabasesConformance,
    Orders,
    attempt,
    order,
    stands_still,
)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    for name in ("shop", "bare"):
        with closing(sqlite3.connect(tmp_path / f"{name}.db")) as file:
            file.execute("CREATE TABLE orders (id TEXT PRIMARY KEY)")
    (tmp_path / "away.db").write_text("this is no SQLite file, though it is long enough to be taken for one" * 10)
    return tmp_path / "shop.db"


class TestSqliteDatabases(DatabasesConformance):
    @pytest.fixture
    async def databases(self, shop: Path) -> AsyncIterator[NamedDatabases]:
        databases = NamedDatabases({name: f"sqlite:///{shop.parent}/{name}.db" for name in ("shop", "bare", "away")})
        await databases.install("shop")
        yield databases
        await databases.close()

    @pytest.fixture
    def orders(self, shop: Path) -> Orders:
        async def read() -> list[str]:
            with closing(sqlite3.connect(shop)) as file:
                return [name for (name,) in file.execute("SELECT id FROM orders ORDER BY id")]

        return read

    async def test_rows_tell_what_a_statement_gave_and_did(self, databases: Databases) -> None:
        async with databases.transaction("shop", "e1", HASH) as transaction:
            done = await transaction.connection.execute("INSERT INTO orders VALUES (?), (?)", ("a", "b"))
            assert (list(done), done.rowcount) == ([], 2)
            found = await transaction.connection.execute("SELECT id FROM orders WHERE id > :than", {"than": "a"})
            assert isinstance(found, Rows)
            assert found == [("b",)]

    async def test_what_a_conflict_clause_has_rolled_back_is_not_gone_on_with(
        self, databases: Databases, orders: Orders
    ) -> None:
        async with databases.transaction("shop", "e1", HASH) as transaction:
            await order(transaction.connection, "a")
            with pytest.raises(sqlite3.IntegrityError):
                await transaction.connection.execute("INSERT OR ROLLBACK INTO orders VALUES ('a')")
            with pytest.raises(TransactionEnded, match="Holdfast's to end"):
                await order(transaction.connection, "b")
            with pytest.raises(TransactionEnded, match="Holdfast's to end"):
                await transaction.commit(b"done")
        assert await orders() == []

    async def test_another_program_that_writes_is_waited_for(
        self, databases: Databases, orders: Orders, shop: Path
    ) -> None:
        with closing(sqlite3.connect(shop, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = asyncio.create_task(attempt(databases, "e1", "a"))
            assert await stands_still(waiting)
            other.execute("COMMIT")
        assert await waiting is None
        assert await orders() == ["a"]

    async def test_a_file_that_is_not_there_is_not_made(self, tmp_path: Path) -> None:
        databases = NamedDatabases({"lost": f"sqlite:///{tmp_path}/lost.db"})
        with pytest.raises(UnknownDatabase, match=r"lost\.db"):
            await databases.install("lost")
        assert not (tmp_path / "lost.db").exists()

    async def test_no_thread_is_left_behind(self, databases: Databases) -> None:
        await attempt(databases, "e1", "a")
        left = [one for one in threading.enumerate() if "database shop" in one.name]
        for one in left:
            await asyncio.to_thread(one.join, 5)
        assert not any(one.is_alive() for one in left)
