"""The log on Kafka, or on any broker that speaks its protocol (3.1 or newer).

Laws of this file:
- It translates: what is decided is decided in the modules beside it.
- Every question has a time limit; a connection on which one failed is thrown away.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, TypeVar

from aiokafka import errors
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.protocol.admin import CreateTopicsRequest

from holdfast.adapters.kafka.assignor import ShardAssignor
from holdfast.adapters.kafka.connection import EARLIEST, LATEST, Client, connect, connection_options
from holdfast.adapters.kafka.consumer import Consumer
from holdfast.adapters.kafka.errors import TROUBLE, at_the_edge, missing
from holdfast.adapters.kafka.group import group_consumer
from holdfast.adapters.kafka.membership import KafkaMembership
from holdfast.adapters.kafka.metadata import NO_LEADER, Described
from holdfast.adapters.kafka.progress import Commits
from holdfast.adapters.kafka.publisher import Publisher
from holdfast.adapters.kafka.sessions import Limits
from holdfast.adapters.kafka.tail import KafkaTail
from holdfast.adapters.kafka.tasks import KafkaTasks
from holdfast.ports.log import OnAssigned, OnRevoked, Outgoing, Topic

TIMEOUT = 10.0
GROUP_TIMEOUT_MS = 20_000
"""More than a group's rebalance may take: joining is one request that waits for all members."""
TAIL_LIMITS = Limits(wait_ms=100, bytes=16 * 1024 * 1024, partition_bytes=1024 * 1024)
"""A tail that watches one more partition waits for its last question to be answered first: keep it short."""
PAUSE = 0.05
LONGEST_PAUSE = 0.5
NO_LIMIT_MS = 2**31 - 1


Answer = TypeVar("Answer")
Asking = Callable[[str], AbstractAsyncContextManager[Client]]


class KafkaLog:
    """Records on Kafka's topics. `options`: see `connection_options`."""

    def __init__(
        self, bootstrap: str, *, options: Mapping[str, object] | None = None, client_id: str = "holdfast"
    ) -> None:
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._options = connection_options(options or {})
        timeout_ms = self._options.pop("request_timeout_ms", int(TIMEOUT * 1000))
        self._timeout = timeout_ms / 1000
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._publisher = Publisher(self._connect, self._timeout)

    async def open(self) -> None:
        async with self._asking(f"connecting to {self._bootstrap}"):
            pass

    async def close(self) -> None:
        await self._publisher.close()
        await self._disconnect()

    async def publish(self, records: Sequence[Outgoing]) -> None:
        await self._publisher.publish(records)

    async def install(self, topics: Sequence[Topic]) -> list[str]:
        wanted = {topic.name: topic for topic in topics}
        async with self._asking("creating topics") as client:
            _cluster, there = await client.describe(wanted)
            for name, described in there.items():
                _same_partitions(wanted[name], described)
            absent = [topic for topic in topics if topic.name not in there]
            if absent:
                await _create(client, absent, int(self._timeout * 1000))
            while not _all_led(wanted, (await client.describe(wanted))[1]):  # noqa: ASYNC110 - only asking tells
                await asyncio.sleep(PAUSE)
        return [f"topic {topic.name} created with {topic.partitions} partitions" for topic in absent]

    async def missing(self, topics: Sequence[Topic]) -> list[str]:
        async with self._asking("looking for topics") as client:
            _cluster, there = await client.describe([topic.name for topic in topics])
        return [topic.name for topic in topics if topic.name not in there]

    async def identity(self, topics: Sequence[str]) -> Mapping[str, str]:
        cluster, there = await self._described(topics)
        return {"cluster": cluster} | {topic: described.id for topic, described in there.items()}

    async def join(
        self, topics: Sequence[str], group: str, *, on_assigned: OnAssigned, on_revoked: OnRevoked, instance: str | None
    ) -> KafkaMembership:
        _cluster, there = await self._described(topics)
        counts = {topic: len(described.leaders) for topic, described in there.items()}
        if len(set(counts.values())) > 1:
            raise ValueError(f"topics of one shard must have the same number of partitions: {counts}")
        assignor = ShardAssignor()  # it remembers the shards of this member, whatever happens to its client
        make = self._grouped(group, instance, assignor)
        known = _Known(self._asking, group)
        return KafkaMembership(make, topics, known, on_assigned=on_assigned, on_revoked=on_revoked)

    async def tasks(self, topics: Sequence[str], group: str, *, instance: str | None) -> KafkaTasks:
        await self._described(topics)

        # A worker that is full does not poll, and stays a member.
        make = self._grouped(group, instance, RoundRobinPartitionAssignor, max_poll_interval_ms=NO_LIMIT_MS)
        return KafkaTasks(make, topics, _Known(self._asking, group))

    async def tail(self, topic: str, *, earliest: bool = False) -> KafkaTail:
        await self._described([topic])
        consumer = Consumer(
            TAIL_LIMITS,
            bootstrap_servers=self._bootstrap,
            client_id=self._client_id,
            **self._options,
        )

        async def start(topic: str, partitions: Sequence[int]) -> dict[int, int]:
            async with self._asking("looking for the place to read from") as client:
                time = EARLIEST if earliest else LATEST
                return await _patiently(lambda: client.offsets(topic, partitions, time))

        with at_the_edge(f"opening {topic}"):
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
        return KafkaTail(consumer, topic, start)

    def _grouped(self, group: str, instance: str | None, assignor: Any, **more: Any) -> Callable[[], Consumer]:
        def make() -> Consumer:
            return group_consumer(
                self._bootstrap,
                self._client_id,
                group,
                instance,
                partition_assignment_strategy=(assignor,),
                request_timeout_ms=GROUP_TIMEOUT_MS,
                **self._options,
                **more,
            )

        return make

    async def _described(self, topics: Sequence[str]) -> tuple[str, dict[str, Described]]:
        async with self._asking("looking for topics") as client:
            cluster, there = await client.describe(topics)
        if absent := set(topics) - there.keys():
            raise missing(*absent)
        return cluster, there

    async def _connect(self) -> Client:
        return await connect(self._bootstrap, self._client_id, self._options)

    @asynccontextmanager
    async def _asking(self, doing: str) -> AsyncIterator[Client]:
        """Lend a client that is connected; what goes wrong becomes one of the port's exceptions."""
        with at_the_edge(doing):
            try:
                async with asyncio.timeout(self._timeout):
                    async with self._connecting:
                        if self._client is None:
                            self._client = await self._connect()
                    yield self._client
            except TROUBLE:
                await self._disconnect()
                raise

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(*TROUBLE):
                await client.close()


class _Known:
    """Fulfils `progress.Group`: asks over the log's own connection."""

    def __init__(self, asking: Asking, group: str) -> None:
        self._asking = asking
        self._group = group

    async def committed(self, partitions: Mapping[str, list[int]]) -> Commits:
        async with self._asking("reading progress") as client:
            return await client.committed(self._group, partitions)

    async def ids(self, topics: Sequence[str]) -> Mapping[str, str]:
        async with self._asking("looking which log is there") as client:
            _cluster, there = await client.describe(topics)
        if absent := set(topics) - there.keys():
            raise missing(*absent)
        return {topic: described.id for topic, described in there.items()}


def _same_partitions(wanted: Topic, described: Described) -> None:
    there = len(described.leaders)
    if there != wanted.partitions:
        raise ValueError(f"topic {wanted.name} has {there} partitions, not {wanted.partitions}: fixed at installation")


def _all_led(wanted: Mapping[str, Topic], there: Mapping[str, Described]) -> bool:
    return there.keys() >= wanted.keys() and all(NO_LEADER not in described.leaders for described in there.values())


async def _create(client: Client, topics: Sequence[Topic], timeout_ms: int) -> None:
    wanted: list[Any] = [
        (topic.name, topic.partitions, topic.replication, [], list(topic.settings.items())) for topic in topics
    ]
    response = await client.ask(CreateTopicsRequest(wanted, timeout_ms, validate_only=False))
    for name, code, text, *_ in response.topic_errors:
        error = errors.for_code(code)
        if error in {errors.NoError, errors.TopicAlreadyExistsError}:  # the second: somebody installs beside us
            continue
        if error.retriable:
            raise error(name)
        raise ValueError(f"Kafka refuses to create topic {name}: {text or error.__name__}")


async def _patiently(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask again while partitions are between two leaders; the caller sets the limit."""
    pause = PAUSE
    while True:
        try:
            return await ask()
        except errors.KafkaError as error:
            if not error.invalid_metadata:
                raise
        await asyncio.sleep(pause * random.uniform(0.5, 1))
        pause = min(pause * 2, LONGEST_PAUSE)
