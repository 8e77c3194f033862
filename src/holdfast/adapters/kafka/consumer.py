"""aiokafka's consumer with a fetcher of our own.

aiokafka keeps the group, the assignment and the positions: it joins, commits, and looks positions up. Its own fetcher
names every partition in every question, which costs more than the records do; so to it all partitions are paused, from
the moment they are assigned, before it can know a position of them.
"""

from collections.abc import Collection
from typing import Any

from aiokafka import AIOKafkaConsumer, errors
from aiokafka.structs import TopicPartition

from holdfast.adapters.kafka.connection import Client
from holdfast.adapters.kafka.fetcher import Fetcher
from holdfast.adapters.kafka.sessions import Limits
from holdfast.ports.log import Record

EARLIEST = -2
IDLE_ROUND_MS = 1_000
"""How often aiokafka's fetcher looks around by itself; it is told of whatever it has to do."""


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka ships no types
    """Reads with `take`; who assigns partitions, or hears that they are assigned, calls `entered` at once."""

    def __init__(self, limits: Limits, **options: Any) -> None:
        super().__init__(
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            consumer_timeout_ms=IDLE_ROUND_MS,
            **options,
        )
        self._client.__class__ = Client  # aiokafka makes one itself, and ours has no state that is not its class's
        self._limits = limits
        self._own: Fetcher | None = None

    def entered(self, partitions: Collection[TopicPartition]) -> None:
        """Read these partitions; no await between their assignment and this call is as long as a question."""
        super().pause(*partitions)
        if self._own is None:
            self._own = Fetcher(self._client, self._subscription, self._limits, self._look_up)
        self._own.stir()

    async def take(self, wait: float) -> list[Record]:
        """Take all records that have come, or that come within `wait` seconds.

        Raises:
            KafkaError: the group or a partition is lost to this client.
        """
        if self._closed:
            raise errors.ConsumerStoppedError
        self._coordinator.check_errors()
        if self._own is None:
            return []
        with self._subscription.fetch_context():
            return await self._own.take(wait)

    def pause(self, *partitions: TopicPartition) -> None:
        if self._own is not None:
            for where in partitions:
                self._own.pause(where)

    def resume(self, *partitions: TopicPartition) -> None:
        if self._own is not None:
            for where in partitions:
                self._own.resume(where)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        super().seek(partition, offset)
        if self._own is not None:
            self._own.stir()

    async def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        if self._own is not None:
            self._own.stir()  # it looks at the next turn of the loop, when the positions are gone
        await super().seek_to_beginning(*partitions)

    async def stop(self) -> None:
        own, self._own = self._own, None
        if own is not None:
            await own.close()
        await super().stop()

    def _look_up(self, where: TopicPartition) -> None:
        self._fetcher.request_offset_reset([where], EARLIEST)
