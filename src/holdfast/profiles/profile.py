"""A profile: the adapters that one installation runs on."""

import asyncio
import os
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from holdfast.adapters.databases import NamedDatabases
from holdfast.adapters.kafka import catalogue
from holdfast.adapters.linux import LinuxHost
from holdfast.adapters.recorder import FlightFolder
from holdfast.app.schemas import SchemaCache
from holdfast.core.identity import digest
from holdfast.ports.clock import Clock
from holdfast.ports.codec import Codec
from holdfast.ports.databases import Databases
from holdfast.ports.deaths import Deaths
from holdfast.ports.deferred import DeferredInputs
from holdfast.ports.host import Host
from holdfast.ports.installation import Installation, NotInstalled
from holdfast.ports.keys import Keys
from holdfast.ports.ledger import Ledger
from holdfast.ports.log import Log, Topic
from holdfast.ports.recorder import FlightRecords
from holdfast.ports.schemas import WriterSchemas
from holdfast.ports.store import Store
from holdfast.ports.unavailable import Unavailable
from holdfast.settings import Settings

SYNC_EVERY = 10.0


class StoreClock:
    """The store's time, as this process knows it: measured against the monotonic clock, never going backwards."""

    def __init__(self) -> None:
        self._offset = time.time_ns() // 1000 - time.monotonic_ns() // 1000
        self._last = 0

    def now(self) -> int:
        now = time.monotonic_ns() // 1000 + self._offset
        self._last = max(self._last, now)
        return self._last

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def sync(self, store: Installation) -> None:
        """Ask the store for its time; half of the round trip is taken as the way."""
        before = time.monotonic_ns() // 1000
        stored = await store.now()
        after = time.monotonic_ns() // 1000
        self._offset = stored - (before + after) // 2

    async def keep(self, store: Installation) -> None:
        """Stay in step with the store."""
        while True:
            await asyncio.sleep(SYNC_EVERY)
            try:
                await self.sync(store)
            except Unavailable:
                continue


class Profile:
    """Store, ledger, deaths, log, keys, clock, codec of one installation; ledger and deaths are in the store."""

    def __init__(  # noqa: PLR0913 - keyword-only: every port has its adapter here
        self,
        *,
        settings: Settings,
        store: Store,
        ledger: Ledger,
        deaths: Deaths,
        deferred: DeferredInputs,
        schemas: WriterSchemas,
        log: Log,
        keys: Keys,
        codec: Codec,
        embedded: bool,
    ) -> None:
        self.settings = settings
        self.namespace = settings.namespace
        self.store = store
        self.ledger = ledger
        self.deaths = deaths
        self.deferred = deferred
        self.databases: Databases = NamedDatabases(settings.databases)
        self.host: Host = LinuxHost()
        self.records: FlightRecords = FlightFolder(records_folder(settings))
        self.log = log
        self.keys = keys
        self.codec = codec
        self.schemas = SchemaCache(codec, schemas)
        self.embedded = embedded
        self.store_clock = StoreClock()
        self.clock: Clock = self.store_clock
        self.shards = settings.shards
        self._keeping: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self.store.open()
        try:
            facts = await self.store.meta()
            self.shards, installation = int(_fact(facts, "shards")), _fact(facts, "installation")
            await self.schemas.register(release())
            await self.log.open()
        except BaseException:
            await self.store.close()
            raise
        await self.keys.open(installation)
        await self.store_clock.sync(self.store)
        self._keeping = asyncio.get_running_loop().create_task(self.store_clock.keep(self.store))

    async def close(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        await self.databases.close()
        await self.keys.close()
        await self.log.close()
        await self.store.close()


def _fact(facts: Mapping[str, str], name: str) -> str:
    """Give one of the facts that the store's installation writes last."""
    if name not in facts:
        raise NotInstalled("the installation was cut off before its end: run holdfast install")
    return facts[name]


def release() -> str:
    """Tell the release that this process is of."""
    return metadata.version("holdfast")


def records_folder(settings: Settings) -> Path:
    """Name the folder of the flight recorders: that of one installation, on this machine."""
    if settings.profile == "embedded":
        file = Path(settings.store.removeprefix("sqlite:///"))
        return (Path(settings.state) if settings.state else file.parent) / f"{file.name}.flight"
    where = digest(settings.store.encode()).hex()[:8]
    return Path(settings.state or ".holdfast") / f"{settings.namespace}-{where}.flight"


def process_name() -> str:
    """Name this process for ever: no other one, before or after, has the name."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def topics_of(settings: Settings, shards: int, queues: Sequence[str] = ("default",)) -> list[Topic]:
    """Name the topics of an installation, from the catalogue."""
    replication = int(settings.kafka.get("replication", "1"))
    return catalogue.topics(
        settings.namespace,
        shards=shards,
        queues=queues,
        replication=replication,
        min_in_sync=max(1, replication - 1),
    )
