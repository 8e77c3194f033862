"""A whole engine of this process on real servers, and the bus as a stranger's service sees it: through librdkafka.

Laws of this file:
- What is produced and consumed here goes through confluent_kafka, never through our own adapter.
- Nothing waits longer than `DEADLINE`.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import confluent_kafka
import msgspec

from holdfast import Client
from holdfast.core import events as e
from holdfast.core.run import ENDED
from holdfast.ports.journal import StoredRun
from holdfast.profiles import install
from holdfast.profiles.engine import Engine
from holdfast.profiles.services import serve
from holdfast.settings import Settings
from tests.servers import Servers

DEADLINE = 40.0
SHARDS = 4
BY_JAVA = "murmur2_random"
BY_DEFAULT = "consistent_random"
QUIET: dict[str, object] = {"log_level": 0}
"""librdkafka goes on calling, and complaining, when the servers of the tests are gone."""


class Letter(msgspec.Struct, frozen=True):
    """A record as a consumer has it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]

    def header(self, name: str) -> str:
        (value,) = [value for key, value in self.headers if key == name]
        return value.decode()


class Bus:
    """The topics of one namespace."""

    def __init__(self, address: str, namespace: str) -> None:
        self.address = address
        self.namespace = namespace
        self._read: dict[str, list[Letter]] = {}
        self._readers: dict[str, confluent_kafka.Consumer] = {}
        self._producers: dict[str, confluent_kafka.Producer] = {}

    def topic(self, kind: str) -> str:
        return f"{self.namespace}.{kind}.v1"

    # -- in

    def put(
        self,
        value: bytes,
        headers: Mapping[str, str],
        *,
        key: str | None = None,
        kind: str = "commands",
        partition: int | None = None,
        partitioner: str = BY_JAVA,
        **options: object,
    ) -> None:
        """Give one record to a producer; `flush` sees to its delivery."""
        name = f"{partitioner}{options}"
        if name not in self._producers:
            settings = {"partitioner": partitioner, "acks": "all", **QUIET, **options}
            settings["bootstrap.servers"] = self.address
            self._producers[name] = confluent_kafka.Producer(settings)
        producer = self._producers[name]
        place = -1 if partition is None else partition
        listed: list[tuple[str, str | bytes | None]] = [(name, text.encode()) for name, text in headers.items()]
        while True:
            try:
                producer.produce(
                    self.topic(kind), value, key=key, headers=listed, on_delivery=self._delivered, partition=place
                )
            except BufferError:
                producer.poll(0.1)
            else:
                return

    def _delivered(self, error: confluent_kafka.KafkaError | None, _: object) -> None:
        assert error is None, error

    def flush(self) -> None:
        for producer in self._producers.values():
            assert producer.flush(DEADLINE) == 0

    def send(self, value: bytes, headers: Mapping[str, str] | None = None, **place: Any) -> None:
        """Produce one record and wait for its acknowledgement."""
        self.put(value, headers or {}, **place)
        self.flush()

    def say(self, name: str, said: object, *, ce_id: str, **place: Any) -> None:
        """Produce a command in JSON."""
        self.send(json.dumps(said).encode(), json_headers(name, ce_id), **place)

    # -- out

    def letters(self, kind: str) -> list[Letter]:
        """All records of a topic as far as they have come."""
        topic = self.topic(kind)
        found = self._read.setdefault(topic, [])
        if topic not in self._readers:
            self._readers[topic] = self._reader(topic)
        while messages := self._readers[topic].consume(500, 0.1):
            for message in messages:
                assert message.error() is None, message.error()
                pairs: Any = message.headers() or []
                headers = [(name, value or b"") for name, value in pairs]
                found.append(
                    Letter(
                        topic,
                        message.partition() or 0,
                        message.offset() or 0,
                        message.key(),
                        message.value() or b"",
                        headers,
                    )
                )
        return found

    def _reader(self, topic: str) -> confluent_kafka.Consumer:
        reader = confluent_kafka.Consumer(
            {"bootstrap.servers": self.address, "group.id": f"{topic}.test", "enable.auto.commit": False, **QUIET}
        )
        partitions = reader.list_topics(topic, DEADLINE).topics[topic].partitions
        reader.assign(
            [confluent_kafka.TopicPartition(topic, one, confluent_kafka.OFFSET_BEGINNING) for one in partitions]
        )
        return reader

    async def until(self, kind: str, enough: Callable[[list[Letter]], bool]) -> list[Letter]:
        """Read a topic until its records are `enough`."""
        until = time.monotonic() + DEADLINE
        while True:
            found = await asyncio.to_thread(self.letters, kind)
            if enough(found):
                return found
            assert time.monotonic() < until, f"{kind}: {[(one.key, one.headers) for one in found]}"

    async def dead(self, count: int = 1) -> list[Letter]:
        """Wait for that many dead letters; more would be a mistake."""
        found = await self.until("dlq", lambda letters: len(letters) >= count)
        assert len(found) == count, [(one.key, one.headers) for one in found]
        return found

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()


class Running:
    """An engine of this process, a client of its installation, and the bus that both are on."""

    def __init__(self, engine: Engine, client: Client, bus: Bus, settings: Settings) -> None:
        self.engine = engine
        self.client = client
        self.bus = bus
        self.settings = settings

    async def stored(self, run_id: str, *statuses: str) -> StoredRun:
        """Wait until a run is stored, in one of `statuses` if any are named."""
        async with asyncio.timeout(DEADLINE):
            while True:
                found = await self.client.profile.store.history(run_id)
                if found is not None and (not statuses or found.row.status in statuses):
                    return found
                await asyncio.sleep(0.01)

    async def absent(self, run_id: str) -> bool:
        return await self.client.profile.store.history(run_id) is None

    async def parked(self, run_id: str) -> e.RunParked:
        """Wait until a run is parked; gives why."""
        found = [one for one in self.events(await self.stored(run_id, "PARKED")) if isinstance(one, e.RunParked)]
        return found[-1]

    async def result(self, run_id: str) -> Any:
        """Wait for the end of a run, which is to be a success."""
        last = self.events(await self.stored(run_id, *ENDED))[-1]
        assert isinstance(last, e.RunCompleted), last
        return await self.client.run(run_id).result()

    def events(self, stored: StoredRun) -> list[e.Event]:
        return [self.client.profile.codec.decode_event(one.type, one.data) for one in stored.history]


def json_headers(name: str, ce_id: str) -> dict[str, str]:
    return {
        "content-type": "application/json",
        "ce_type": f"holdfast.{name}.v1",
        "ce_id": ce_id,
        "ce_source": "/tests/stranger",
    }


def settings_on(servers: Servers, namespace: str) -> Settings:
    return Settings(
        namespace=namespace,
        store=servers.postgres,
        log=f"kafka://{servers.kafka}",
        keys=servers.redis,
        shards=SHARDS,
    )


@asynccontextmanager
async def serving(
    settings: Settings, *, orchestrator: bool = True, local: bool = True, queues: Sequence[str] = ()
) -> AsyncIterator[Engine]:
    """Serve for as long as the block runs; without `local`, tasks go by the log."""
    stop = asyncio.Event()
    ready: asyncio.Future[Engine] = asyncio.get_running_loop().create_future()
    service = asyncio.create_task(
        serve(
            settings,
            orchestrator=orchestrator,
            worker=True,
            local=local,
            queues=queues,
            stop=stop,
            on_ready=ready.set_result,
        )
    )
    both: list[asyncio.Future[Any]] = [ready, service]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if not ready.done():
        service.result()
    try:
        yield ready.result()
        if service.done():
            service.result()
    finally:
        stop.set()
        async with asyncio.timeout(DEADLINE):
            await service


@asynccontextmanager
async def running(settings: Settings, *, local: bool = True) -> AsyncIterator[Running]:
    """Serve, with a client beside it that goes by the log."""
    await install(settings)
    bus = Bus(settings.log.removeprefix("kafka://"), settings.namespace)
    try:
        async with serving(settings, local=local) as engine, Client(settings) as client:
            yield Running(engine, client, bus, settings)
    finally:
        bus.close()
