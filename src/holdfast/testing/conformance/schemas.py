"""The laws of the schemas port, as tests that every adapter passes.

A subclass gives the fixtures of the store's suite, and `schemas_of`, which gives the schemas of an open store.
"""

from typing import Any

import pytest

from holdfast.ports.schemas import WriterSchema, WriterSchemas
from holdfast.ports.store import Store
from holdfast.testing.conformance.fixtures import StoreFixtures


def written(name: str, number: int = 0, release: str = "1.0") -> WriterSchema:
    """Give a schema."""
    return WriterSchema(number.to_bytes(8, "big"), name, f'{{"name":"{name}","doc":"ü {number}"}}', release)


class SchemasConformance(StoreFixtures):
    """All laws."""

    def schemas_of(self, store: Any) -> WriterSchemas:
        raise NotImplementedError

    @pytest.fixture
    def schemas(self, store: Store) -> WriterSchemas:
        return self.schemas_of(store)

    @pytest.fixture
    def another(self, another_store: Store) -> WriterSchemas:
        return self.schemas_of(another_store)

    async def test_a_schema_is_read_as_it_was_registered_by_another_process_too(
        self, schemas: WriterSchemas, another: WriterSchemas
    ) -> None:
        assert list(await schemas.read()) == []
        given = [written("RunStarted", 2), written("RunStarted", 1), written("Payload", 2**63)]
        await schemas.register(given)
        in_order = sorted(given, key=lambda one: (one.name, one.fingerprint))
        assert list(await another.read()) == list(await schemas.read()) == in_order

    async def test_what_is_registered_is_never_changed(self, schemas: WriterSchemas, another: WriterSchemas) -> None:
        await schemas.register([written("RunStarted", 1, "1.0")])
        await another.register([written("RunStarted", 1, "2.0"), written("RunStarted", 2, "2.0")])
        assert [one.release for one in await schemas.read()] == ["1.0", "2.0"]

    async def test_registering_nothing_changes_nothing(self, schemas: WriterSchemas) -> None:
        await schemas.register([])
        assert list(await schemas.read()) == []

    async def test_the_schemas_of_many_releases_are_registered_at_once(self, schemas: WriterSchemas) -> None:
        await schemas.register([written(f"Record{number:04}", number) for number in range(1_000)])
        assert len(await schemas.read()) == 1_000
