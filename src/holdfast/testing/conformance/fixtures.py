"""What an adapter's test file gives to the store's suite."""

import pytest

from holdfast.ports.store import Store

SOON = 5.0


class StoreFixtures:
    """What a subclass gives."""

    @pytest.fixture
    async def store(self) -> Store:
        raise NotImplementedError

    @pytest.fixture
    async def another_store(self) -> Store:
        raise NotImplementedError

    @pytest.fixture
    async def blank(self) -> Store:
        raise NotImplementedError

    @pytest.fixture
    async def another_blank(self) -> Store:
        raise NotImplementedError
