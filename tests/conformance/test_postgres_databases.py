"""Effects' transactions in PostgreSQL hold the laws of the port, and some of their own."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from psycopg.rows import dict_row

from holdfast.adapters.databases import NamedDatabases
from holdfast.ports.databases import CommitUnclear, Databases, TransactionEnded, UnknownDatabase
from holdfast.ports.unavailable import Unavailable
from holdfast.testing.conformance.databases import HASH, DatabasesConformance, Orders, attempt, order
from tests.integration.postgres import CutCable, Link, waits_for_a_lock
from tests.servers import Servers

SHOP = """
CREATE SCHEMA {schema};
CREATE TABLE {schema}.orders (id text PRIMARY KEY);
CREATE FUNCTION {schema}.wait() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN PERFORM pg_advisory_xact_lock({lock}); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON {schema}.orders DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (NEW.id = 'slow') EXECUTE FUNCTION {schema}.wait();
CREATE SCHEMA {schema}_bare;
"""
"""To commit the order 'slow' takes the lock: it waits in COMMIT for whoever has it."""


def url(servers: Servers, schema: str) -> str:
    return f"{servers.postgres}?options={quote(f'-csearch_path={schema}', safe='')}"


def lock_of(namespace: str) -> int:
    return int(namespace[1:], 16)


@pytest.mark.servers
class TestPostgresDatabases(DatabasesConformance):
    @pytest.fixture
    async def link(self, servers: Servers, namespace: str) -> AsyncIterator[Link]:
        """A connection of a bystander."""
        async with await psycopg.AsyncConnection.connect(servers.postgres, autocommit=True) as link:
            await link.execute(SHOP.format(schema=namespace, lock=lock_of(namespace)).encode())
            yield link

    @pytest.fixture
    async def databases(self, link: Link, servers: Servers, namespace: str) -> AsyncIterator[NamedDatabases]:
        databases = NamedDatabases(
            {
                "shop": url(servers, namespace),
                "bare": url(servers, f"{namespace}_bare"),
                "away": "postgresql://127.0.0.1:1/nobody",
            }
        )
        await databases.install("shop")
        yield databases
        await databases.close()

    @pytest.fixture
    def orders(self, link: Link, namespace: str) -> Orders:
        async def read() -> list[str]:
            rows = await link.execute(f"SELECT id FROM {namespace}.orders ORDER BY id".encode())
            return [name for (name,) in await rows.fetchall()]

        return read

    async def kill(self, link: Link, pid: int) -> None:
        await link.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))

    async def test_a_backend_killed_under_the_author_leaves_nothing(
        self, databases: Databases, orders: Orders, link: Link
    ) -> None:
        async def killed() -> None:
            async with databases.transaction("shop", "e1", HASH) as transaction:
                await order(transaction.connection, "a")
                await self.kill(link, transaction.connection.info.backend_pid)
                await order(transaction.connection, "b")

        with pytest.raises(psycopg.OperationalError):
            await killed()
        assert await orders() == []
        assert await attempt(databases, "e1", "c") is None
        assert await orders() == ["c"]

    async def test_a_backend_killed_before_the_commit_was_asked_for_is_no_doubt(
        self, databases: Databases, orders: Orders, link: Link
    ) -> None:
        async def killed() -> None:
            async with databases.transaction("shop", "e1", HASH) as transaction:
                await order(transaction.connection, "a")
                await self.kill(link, transaction.connection.info.backend_pid)
                await transaction.commit(b"done")

        with pytest.raises(Unavailable):
            await killed()
        assert await orders() == []

    async def test_a_backend_killed_in_its_commit_is_a_doubt_that_the_next_attempt_clears(
        self, databases: Databases, orders: Orders, link: Link, namespace: str
    ) -> None:
        await link.execute("SELECT pg_advisory_lock(%s)", (lock_of(namespace),))
        committing = asyncio.create_task(attempt(databases, "e1", "slow"))
        await self.kill(link, await waits_for_a_lock(link))
        with pytest.raises(CommitUnclear, match="COMMIT"):
            await committing
        await link.execute("SELECT pg_advisory_unlock_all()")
        assert await orders() == []
        assert await attempt(databases, "e1", "a") is None
        assert await orders() == ["a"]

    async def test_a_commit_whose_answer_is_lost_is_a_doubt_that_the_next_attempt_clears(
        self, databases: Databases, orders: Orders, link: Link, servers: Servers, namespace: str
    ) -> None:
        server = urlsplit(servers.postgres)
        await link.execute("SELECT pg_advisory_lock(%s)", (lock_of(namespace),))
        async with CutCable(server.hostname or "", server.port or 0) as cable:
            through = NamedDatabases({"shop": url(servers, namespace).replace(str(server.port), str(cable.port), 1)})
            committing = asyncio.create_task(attempt(through, "e1", "slow", result=b"first"))
            await waits_for_a_lock(link)
            cable.cut = True
            await link.execute("SELECT pg_advisory_unlock_all()")
            with pytest.raises(CommitUnclear, match="COMMIT"):
                await committing
            await through.close()
        assert await attempt(databases, "e1", "again") == b"first"
        assert await orders() == ["slow"]

    async def test_a_commit_that_the_server_refuses_is_a_definite_no(
        self, databases: Databases, orders: Orders, link: Link, namespace: str
    ) -> None:
        await link.execute(
            f"CREATE TABLE {namespace}.lines (of_order text REFERENCES {namespace}.orders "
            "DEFERRABLE INITIALLY DEFERRED)".encode()
        )

        async def refused() -> None:
            async with databases.transaction("shop", "e1", HASH) as transaction:
                await order(transaction.connection, "a")
                await transaction.connection.execute("INSERT INTO lines VALUES ('nowhere')")
                await transaction.commit(b"done")

        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            await refused()
        assert await orders() == []
        assert await attempt(databases, "e1", "b") is None

    async def test_the_methods_that_end_a_transaction_are_refused_and_nested_ones_are_savepoints(
        self, databases: Databases, orders: Orders
    ) -> None:
        async with databases.transaction("shop", "e1", HASH) as transaction:
            connection: Link = transaction.connection
            for ending in (connection.commit(), connection.rollback(), connection.__aexit__(None, None, None)):
                with pytest.raises(TransactionEnded, match="Holdfast's to end"):
                    await ending
            async with connection.transaction():
                await order(connection, "a")
            async with connection.transaction(force_rollback=True):
                await order(connection, "b")
            await transaction.commit(b"done")
        assert await orders() == ["a"]

    async def test_a_failed_statement_that_is_hidden_is_told_as_the_authors(
        self, databases: Databases, orders: Orders
    ) -> None:
        async with databases.transaction("shop", "e1", HASH) as transaction:
            await order(transaction.connection, "a")
            with pytest.raises(psycopg.errors.UniqueViolation):
                await order(transaction.connection, "a")
            with pytest.raises(TransactionEnded, match=r"connection\.transaction\(\)"):
                await transaction.commit(b"done")
        assert await orders() == []

    async def test_what_an_author_sets_is_gone_with_his_connection(
        self, databases: Databases, link: Link, namespace: str
    ) -> None:
        async with databases.transaction("shop", "e1", HASH) as transaction:
            first: Any = transaction.connection
            first.row_factory = dict_row
            pid = first.info.backend_pid
            await first.execute("SELECT pg_advisory_lock(1)")
            await first.execute("SET search_path TO nowhere")
            await first.execute("CREATE TEMPORARY TABLE mine (id int)")
            await transaction.commit(b"done")
        async with databases.transaction("shop", "e2", HASH) as transaction:
            second: Any = transaction.connection
            assert second.info.backend_pid == pid
            assert await (await second.execute("SELECT current_schema()")).fetchone() == (namespace,)
            assert await (await second.execute("SELECT to_regclass('mine')")).fetchone() == (None,)
            assert await (await link.execute("SELECT pg_try_advisory_lock(1)")).fetchone() == (True,)
            await transaction.commit(b"done")

    async def test_links_that_were_cut_while_idle_are_replaced(
        self, databases: Databases, orders: Orders, link: Link
    ) -> None:
        async with databases.transaction("shop", "e1", HASH) as transaction:
            pid = transaction.connection.info.backend_pid
            await transaction.commit(b"done")
        await self.kill(link, pid)
        assert await attempt(databases, "e2", "a") is None
        assert await orders() == ["a"]

    async def test_a_role_without_rights_is_told_which_it_needs(
        self, databases: Databases, link: Link, servers: Servers, namespace: str
    ) -> None:
        await link.execute(f"CREATE ROLE {namespace} LOGIN; GRANT USAGE ON SCHEMA {namespace} TO {namespace}".encode())
        poor = NamedDatabases({"shop": url(servers, namespace).replace("holdfast@", f"{namespace}@")})
        with pytest.raises(UnknownDatabase, match="SELECT, INSERT, UPDATE on holdfast_effects"):
            async with poor.transaction("shop", "e1", HASH):
                pytest.fail("it was begun")
        await poor.close()
