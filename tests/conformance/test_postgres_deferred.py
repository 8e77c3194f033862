"""Deferred inputs in PostgreSQL hold the laws of the port."""

from collections.abc import AsyncIterator

import pytest

from holdfast.adapters.postgres import PostgresDeferredInputs, PostgresStore
from holdfast.testing.conformance.deferred import DeferredConformance
from holdfast.testing.conformance.rows import SHARDS
from tests.servers import Servers


@pytest.mark.servers
class TestPostgresDeferred(DeferredConformance):
    def deferred_of(self, store: PostgresStore) -> PostgresDeferredInputs:
        return PostgresDeferredInputs(store)

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
