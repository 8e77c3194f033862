"""The PostgreSQL store holds the laws of the port."""

from collections.abc import AsyncIterator

import pytest

from holdfast.adapters.postgres import PostgresStore
from holdfast.ports.journal import Committed
from holdfast.testing.conformance.purging import purge, run_to_its_end
from holdfast.testing.conformance.rows import SHARDS, owner
from holdfast.testing.conformance.store import StoreConformance
from tests.servers import Servers


@pytest.mark.servers
class TestPostgresStore(StoreConformance):
    @pytest.fixture
    async def store(self, servers: Servers, namespace: str) -> AsyncIterator[PostgresStore]:
        store = PostgresStore(servers.postgres, namespace)
        await store.install(SHARDS)
        await store.open()
        yield store
        await store.close()

    @pytest.fixture
    async def another_store(
        self, store: PostgresStore, servers: Servers, namespace: str
    ) -> AsyncIterator[PostgresStore]:
        another = PostgresStore(servers.postgres, namespace)
        await another.open()
        yield another
        await another.close()

    @pytest.fixture
    async def blank(self, servers: Servers, namespace: str) -> PostgresStore:
        return PostgresStore(servers.postgres, namespace)

    @pytest.fixture
    async def another_blank(self, servers: Servers, namespace: str) -> PostgresStore:
        return PostgresStore(servers.postgres, namespace)

    async def test_the_first_purge_keeps_releases_out_that_know_of_no_tombstones(self, store: PostgresStore) -> None:
        writer = await owner(store)
        await run_to_its_end(writer, "r")
        assert (await store.meta())["safe_from"] in {"1", "2", "3", "4", "5", "6"}
        assert isinstance(await purge(writer, "r"), Committed)
        assert (await store.meta())["safe_from"] == "7"
