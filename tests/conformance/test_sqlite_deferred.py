"""Deferred inputs in the SQLite file hold the laws of the port."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.adapters.sqlite import SqliteDeferredInputs, SqliteStore
from holdfast.testing.conformance.deferred import DeferredConformance
from holdfast.testing.conformance.rows import SHARDS


class TestSqliteDeferred(DeferredConformance):
    def deferred_of(self, store: SqliteStore) -> SqliteDeferredInputs:
        return SqliteDeferredInputs(store)

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[SqliteStore]:
        store = SqliteStore(tmp_path / "holdfast.db")
        await store.install(SHARDS)
        await store.open()
        yield store
        await store.close()

    @pytest.fixture
    async def another_store(self, store: SqliteStore) -> AsyncIterator[SqliteStore]:
        another = SqliteStore(store.file.path)
        await another.open()
        yield another
        await another.close()
