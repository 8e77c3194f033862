"""The laws of the databases port, as tests that every adapter passes.

A subclass gives the fixtures: `databases` names "shop" (installed, with the author's table `orders (id text primary
key)`), "bare" (without Holdfast's table) and "away" (out of reach); `orders` reads what is committed in "shop".
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast.ports.databases import Databases, RequestDiffers, TransactionEnded, UnknownDatabase
from holdfast.ports.unavailable import Unavailable

SOON = 10.0
A_MOMENT = 0.2

Orders = Callable[[], Awaitable[list[str]]]
HASH = b"\x00hash\xff"


async def order(connection: Any, name: str) -> None:
    """An author's statement that both kinds of database understand."""
    await connection.execute(f"INSERT INTO orders (id) VALUES ('{name}')")  # noqa: S608 - a name of these tests


async def attempt(databases: Databases, effect_id: str, *names: str, result: bytes = b"done") -> bytes | None:
    """One attempt of an effect that orders `names`; gives what an earlier one has recorded."""
    async with databases.transaction("shop", effect_id, HASH) as transaction:
        if transaction.recorded is not None:
            return transaction.recorded
        for name in names:
            await order(transaction.connection, name)
        await transaction.commit(result)
        return None


async def stands_still(task: asyncio.Task[Any]) -> bool:
    """Tell whether a task waits for somebody."""
    done, _ = await asyncio.wait([task], timeout=A_MOMENT)
    return not done


class DatabasesFixtures:
    """What a subclass gives."""

    @pytest.fixture
    async def databases(self) -> Databases:
        raise NotImplementedError

    @pytest.fixture
    def orders(self) -> Orders:
        raise NotImplementedError


class OnceLaws(DatabasesFixtures):
    """The effect's writes and its row: together, once."""

    async def test_what_an_effect_wrote_and_its_row_are_committed_together(
        self, databases: Databases, orders: Orders
    ) -> None:
        async with databases.transaction("shop", "e1", HASH) as transaction:
            assert transaction.recorded is None
            await order(transaction.connection, "a")
            assert await orders() == []
            await transaction.commit(b"\x00r\xff")
        assert await orders() == ["a"]
        assert await attempt(databases, "e1", "again") == b"\x00r\xff"
        assert await orders() == ["a"]

    async def test_an_empty_result_is_a_result(self, databases: Databases) -> None:
        assert await attempt(databases, "e1", result=b"") is None
        assert await attempt(databases, "e1") == b""

    async def test_an_exception_rolls_both_back_and_the_next_attempt_runs(
        self, databases: Databases, orders: Orders
    ) -> None:
        async def failing() -> None:
            async with databases.transaction("shop", "e1", HASH) as transaction:
                await order(transaction.connection, "a")
                raise KeyError("author")

        with pytest.raises(KeyError, match="author"):
            await failing()
        assert await orders() == []
        assert await attempt(databases, "e1", "b") is None
        assert await orders() == ["b"]

    async def test_what_is_left_without_a_commit_is_rolled_back(self, databases: Databases, orders: Orders) -> None:
        async with databases.transaction("shop", "e1", HASH) as transaction:
            await order(transaction.connection, "a")
        assert await orders() == []
        assert await attempt(databases, "e1", "b") is None

    async def test_an_attempt_that_is_cancelled_lets_the_next_one_run(
        self, databases: Databases, orders: Orders
    ) -> None:
        entered = asyncio.Event()

        async def forever() -> None:
            async with databases.transaction("shop", "e1", HASH) as transaction:
                await order(transaction.connection, "a")
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(forever())
        await entered.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await attempt(databases, "e1", "b") is None
        assert await orders() == ["b"]

    async def test_of_two_at_once_one_runs_and_the_other_finds_its_result(
        self, databases: Databases, orders: Orders
    ) -> None:
        async with databases.transaction("shop", "e1", HASH) as first:
            await order(first.connection, "a")
            second = asyncio.create_task(attempt(databases, "e1", "b"))
            assert await stands_still(second)
            await first.commit(b"first")
        async with asyncio.timeout(SOON):
            assert await second == b"first"
        assert await orders() == ["a"]

    async def test_of_two_at_once_the_other_runs_if_the_first_rolls_back(
        self, databases: Databases, orders: Orders
    ) -> None:
        async with databases.transaction("shop", "e1", HASH) as first:
            await order(first.connection, "a")
            second = asyncio.create_task(attempt(databases, "e1", "b"))
            assert await stands_still(second)
        async with asyncio.timeout(SOON):
            assert await second is None
        assert await orders() == ["b"]

    async def test_who_waits_can_be_called_off(self, databases: Databases, orders: Orders) -> None:
        async with databases.transaction("shop", "e1", HASH) as first:
            await order(first.connection, "a")
            second = asyncio.create_task(attempt(databases, "e1", "b"))
            assert await stands_still(second)
            second.cancel()
            async with asyncio.timeout(SOON):
                await asyncio.gather(second, return_exceptions=True)
            await first.commit(b"first")
        assert await orders() == ["a"]

    async def test_many_effects_at_once_are_each_done_once(self, databases: Databases, orders: Orders) -> None:
        names = [f"o{number:02}" for number in range(20)]
        async with asyncio.timeout(SOON):
            await asyncio.gather(*(attempt(databases, f"e-{name}", name) for name in names for _ in range(2)))
        assert await orders() == names

    async def test_another_request_under_the_same_id_is_neither_done_nor_believed(
        self, databases: Databases, orders: Orders
    ) -> None:
        await attempt(databases, "e1", "a")
        with pytest.raises(RequestDiffers, match="e1"):
            async with databases.transaction("shop", "e1", b"other"):
                pytest.fail("it was begun")
        assert await orders() == ["a"]


class EndingLaws(DatabasesFixtures):
    """The transaction is Holdfast's to end."""

    @pytest.mark.parametrize("said", ["COMMIT", "ROLLBACK"])
    async def test_an_author_who_ends_the_transaction_is_told_the_law(
        self, said: str, databases: Databases, orders: Orders
    ) -> None:
        async def ending() -> None:
            async with databases.transaction("shop", "e1", HASH) as transaction:
                await order(transaction.connection, "a")
                await transaction.connection.execute(said)
                await order(transaction.connection, "b")
                await transaction.commit(b"done")

        with pytest.raises(TransactionEnded, match="Holdfast's to end"):
            await ending()
        assert await orders() == []
        assert await attempt(databases, "e1", "c") is None
        assert await orders() == ["c"]

    async def test_an_author_who_hides_his_failed_commit_changes_nothing(
        self, databases: Databases, orders: Orders
    ) -> None:
        async with databases.transaction("shop", "e1", HASH) as transaction:
            await order(transaction.connection, "a")
            with pytest.raises(Exception, match=r"(?i)holdfast"):
                await transaction.connection.execute("COMMIT")
        assert await orders() == []

    async def test_savepoints_are_the_authors(self, databases: Databases, orders: Orders) -> None:
        async with databases.transaction("shop", "e1", HASH) as transaction:
            await order(transaction.connection, "a")
            await transaction.connection.execute("SAVEPOINT here")
            await order(transaction.connection, "b")
            await transaction.connection.execute("ROLLBACK TO SAVEPOINT here")
            await order(transaction.connection, "c")
            await transaction.commit(b"done")
        assert await orders() == ["a", "c"]

    async def test_a_statement_that_fails_and_is_let_out_rolls_back(self, databases: Databases, orders: Orders) -> None:
        with pytest.raises(Exception, match=r"(?i)unique"):
            await attempt(databases, "e1", "a", "a")
        assert await orders() == []
        assert await attempt(databases, "e1", "a") is None

    async def test_a_recorded_effect_is_not_committed_again(self, databases: Databases, orders: Orders) -> None:
        await attempt(databases, "e1", "a", result=b"first")
        with pytest.raises(TransactionEnded):
            async with databases.transaction("shop", "e1", HASH) as transaction:
                await transaction.commit(b"second")
        assert await attempt(databases, "e1") == b"first"

    async def test_a_connection_that_was_kept_is_of_no_use(self, databases: Databases, orders: Orders) -> None:
        async with databases.transaction("shop", "e1", HASH) as transaction:
            kept = transaction.connection
            await transaction.commit(b"done")
        async with databases.transaction("shop", "e2", HASH) as transaction:
            with pytest.raises(Exception, match=r"(?i)closed|after its end"):
                await order(kept, "late")
            await transaction.commit(b"done")
        assert await orders() == []


class InstallationLaws(DatabasesFixtures):
    """Names, tables, and what is out of reach."""

    async def test_a_database_without_the_table_says_what_to_run(self, databases: Databases) -> None:
        with pytest.raises(UnknownDatabase, match="holdfast ledger install bare"):
            async with databases.transaction("bare", "e1", HASH):
                pytest.fail("it was begun")

    async def test_a_name_that_nobody_has_set_is_told_with_those_that_are(self, databases: Databases) -> None:
        with pytest.raises(UnknownDatabase, match=r"'shpo'.*away, bare, shop.*HOLDFAST_DATABASES_SHPO"):
            async with databases.transaction("shpo", "e1", HASH):
                pytest.fail("it was begun")

    async def test_what_is_out_of_reach_is_unavailable(self, databases: Databases) -> None:
        with pytest.raises(Unavailable, match="away"):
            async with databases.transaction("away", "e1", HASH):
                pytest.fail("it was begun")
        with pytest.raises(Unavailable, match="away"):
            await databases.install("away")
        with pytest.raises(Unavailable, match="away"):
            await databases.pending("away")

    async def test_installing_does_what_was_pending_and_nothing_the_second_time(self, databases: Databases) -> None:
        pending = await databases.pending("bare")
        assert pending
        assert await databases.install("bare") == pending
        assert await databases.pending("bare") == []
        assert await databases.install("bare") == []
        async with databases.transaction("bare", "e1", HASH) as transaction:
            await transaction.commit(b"done")

    async def test_two_that_install_at_once_make_one_table(self, databases: Databases) -> None:
        done = await asyncio.gather(databases.install("bare"), databases.install("bare"))
        assert sorted(map(len, done)) == [0, 1]

    async def test_installing_again_keeps_what_is_recorded(self, databases: Databases) -> None:
        await attempt(databases, "e1", "a", result=b"kept")
        await databases.install("shop")
        assert await attempt(databases, "e1", "b") == b"kept"

    async def test_after_close_nothing_is_begun(self, databases: Databases) -> None:
        await attempt(databases, "e1", "a")
        await databases.close()
        with pytest.raises(Unavailable):
            async with databases.transaction("shop", "e2", HASH):
                pytest.fail("it was begun")


class DatabasesConformance(OnceLaws, EndingLaws, InstallationLaws):
    """All laws of the port."""
