"""The simulated store, ledger, log, keys and database keep the laws of their ports, as the real ones do."""

import asyncio
import itertools
import random
import time
from collections.abc import Sequence
from contextvars import Context

import pytest

from holdfast.ports.log import Topic
from holdfast.testing.conformance.databases import OnceLaws, Orders
from holdfast.testing.conformance.deaths import DeathsConformance
from holdfast.testing.conformance.deferred import DeferredConformance
from holdfast.testing.conformance.keys import Advance, Flush, KeysConformance
from holdfast.testing.conformance.ledger import LedgerConformance
from holdfast.testing.conformance.log import PARTITIONS, LogConformance
from holdfast.testing.conformance.rows import SHARDS
from holdfast.testing.conformance.schemas import SchemasConformance
from holdfast.testing.conformance.store import StoreConformance
from tests.simulation.broker import Broker
from tests.simulation.databases import Database, SimulatedDatabases
from tests.simulation.deaths import SimulatedDeaths
from tests.simulation.deferred import SimulatedDeferredInputs
from tests.simulation.faults import Faults
from tests.simulation.keys import KeyServer, SimulatedKeys
from tests.simulation.ledger import SimulatedLedger
from tests.simulation.log import SimulatedLog
from tests.simulation.loop import Life
from tests.simulation.schemas import SimulatedSchemas
from tests.simulation.store import SimulatedStore, Truth
from tests.simulation.wire import Wire

_names = itertools.count()


def calm() -> Wire:
    """A way on which nothing goes wrong."""
    faults = Faults(random.Random(0))
    faults.on = False
    return Wire(Life(f"process-{next(_names)}"), faults, random.Random(0), outside=Context(), wake=lambda _: None)


def now() -> int:
    return time.time_ns() // 1_000


class Simulated:
    """Two stores of two processes over one truth."""

    @pytest.fixture
    async def truth(self) -> Truth:
        return Truth(now)

    @pytest.fixture
    async def store(self, truth: Truth) -> SimulatedStore:
        truth.install(SHARDS)
        return SimulatedStore(truth, calm())

    @pytest.fixture
    async def another_store(self, truth: Truth) -> SimulatedStore:
        return SimulatedStore(truth, calm())


class TestSimulatedStore(Simulated, StoreConformance):
    @pytest.fixture
    async def nothing(self) -> Truth:
        return Truth(now)

    @pytest.fixture
    async def blank(self, nothing: Truth) -> SimulatedStore:
        return SimulatedStore(nothing, calm())

    @pytest.fixture
    async def another_blank(self, nothing: Truth) -> SimulatedStore:
        return SimulatedStore(nothing, calm())


class TestSimulatedLedger(Simulated, LedgerConformance):
    def ledger_of(self, store: SimulatedStore) -> SimulatedLedger:
        return SimulatedLedger(store.truth.ledger, store.truth, store.wire)


class TestSimulatedDeaths(Simulated, DeathsConformance):
    def deaths_of(self, store: SimulatedStore) -> SimulatedDeaths:
        return SimulatedDeaths(store.truth.deaths, store.truth, store.wire)


class TestSimulatedDeferred(Simulated, DeferredConformance):
    def deferred_of(self, store: SimulatedStore) -> SimulatedDeferredInputs:
        return SimulatedDeferredInputs(store.truth.deferred, store.truth, store.wire)


class TestSimulatedSchemas(Simulated, SchemasConformance):
    def schemas_of(self, store: SimulatedStore) -> SimulatedSchemas:
        return SimulatedSchemas(store.truth.schemas, store.truth, store.wire)


class TestSimulatedDatabase(OnceLaws):
    """What a transaction effect rests on; how authors' SQL and connections behave is the real databases' to show."""

    @pytest.fixture
    async def purchases(self) -> list[str]:
        return []

    @pytest.fixture
    async def databases(self, purchases: list[str]) -> SimulatedDatabases:
        return SimulatedDatabases(Database(lambda purchase: purchases.append(purchase[1])), calm())

    @pytest.fixture
    def orders(self, purchases: list[str]) -> Orders:
        async def read() -> list[str]:
            return sorted(purchases)

        return read


class TestSimulatedLog(LogConformance):
    @pytest.fixture
    async def broker(self) -> Broker:
        return Broker(now, random.Random(0))

    @pytest.fixture
    async def log(self, broker: Broker) -> SimulatedLog:
        return SimulatedLog(broker, calm())

    @pytest.fixture
    async def another_log(self, broker: Broker) -> SimulatedLog:
        return SimulatedLog(broker, calm())

    @pytest.fixture
    async def topics(self, broker: Broker) -> Sequence[Topic]:
        made = [Topic(f"h.{name}.v1", PARTITIONS) for name in ("commands", "results", "tasks.default")]
        broker.install(made)
        return made


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
        await asyncio.sleep(0)


class TestSimulatedKeys(KeysConformance):
    @pytest.fixture
    def clock(self) -> HandClock:
        return HandClock()

    @pytest.fixture
    async def server(self, clock: HandClock) -> KeyServer:
        return KeyServer(clock)

    @pytest.fixture
    async def keys(self, server: KeyServer) -> SimulatedKeys:
        return SimulatedKeys(server, calm())

    @pytest.fixture
    async def flush(self, server: KeyServer) -> Flush:
        async def forget() -> None:
            server.forget()

        return forget

    @pytest.fixture
    def advance(self, clock: HandClock) -> Advance:
        return clock.sleep
