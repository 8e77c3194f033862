"""Keys in memory keep the laws of the port."""

import pytest

from holdfast.adapters.memory import MemoryKeys
from holdfast.ports.keys import Claimed, Known
from holdfast.testing.conformance.keys import Advance, Flush, KeysConformance


class HandClock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> int:
        return int(self.seconds * 1_000_000)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


class TestMemoryKeys(KeysConformance):
    @pytest.fixture
    def keys(self, clock: HandClock) -> MemoryKeys:
        return MemoryKeys(clock)

    @pytest.fixture
    def flush(self, keys: MemoryKeys) -> Flush:
        return keys.close

    @pytest.fixture
    def advance(self, clock: HandClock) -> Advance:
        return clock.sleep


async def test_beyond_its_limit_the_oldest_keys_are_forgotten_first() -> None:
    keys = MemoryKeys(limit=100)
    for number in range(151):
        await keys.remember({f"step#{number}": b"done"}, 60)
    assert list(await keys.claim(["step#0", "step#150"], "ada", 60)) == [Claimed(), Known(b"done")]


async def test_what_has_expired_makes_room_before_anything_living_is_forgotten(clock: HandClock) -> None:
    keys = MemoryKeys(clock, limit=100)
    await keys.remember({"living": b"receipt"}, 1_000)
    for number in range(300):
        await keys.remember({f"step#{number}": b"done"}, 10)
        await clock.sleep(1)
    assert list(await keys.claim(["living"], "ada", 60)) == [Known(b"receipt")]
