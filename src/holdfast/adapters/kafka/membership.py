"""The group that shares out shards: see `ports.log.Membership`.

What the engine is told at a rebalance, in this order: `on_revoked` with all shards it held, awaited; `on_assigned` with
all shards that it holds from now on (none, too), before any record of them is polled. A shard in both has stayed.
What was polled and not acknowledged by the end of `on_revoked` comes again, to whoever has the shard then.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from aiokafka.structs import TopicPartition

from holdfast.adapters.kafka.consumer import Consumer
from holdfast.adapters.kafka.group import Done, Group, Partitions
from holdfast.adapters.kafka.progress import Group as Known
from holdfast.adapters.kafka.progress import Progress
from holdfast.ports.log import OnAssigned, OnRevoked, Record


class KafkaMembership:
    """A member who reads the shards it is given."""

    def __init__(
        self,
        make: Callable[[], Consumer],
        topics: Sequence[str],
        known: Known,
        *,
        on_assigned: OnAssigned,
        on_revoked: OnRevoked,
    ) -> None:
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._positions: dict[TopicPartition, int] = {}
        self._group = Group(
            make,
            topics,
            known,
            entered=self._entered,
            left=self._left,
            progress=self._progress,
            forget_progress=self._positions.clear,
        )
        self._group.open()

    async def poll(self, wait: float, limit: int) -> list[Record]:
        return await self._group.poll(wait, limit)

    async def acknowledge(self, positions: Mapping[tuple[str, int], int]) -> None:
        held = self._group.held
        for (topic, partition), offset in positions.items():
            where = TopicPartition(topic, partition)
            if where in held:
                self._positions[where] = offset

    async def assigned(self) -> frozenset[int]:
        return _shards(self._group.held)

    async def rewind(self, shards: Collection[int]) -> None:
        wanted = set(shards)
        partitions = frozenset(where for where in self._group.held if where.partition in wanted)
        await self._group.rewind(partitions)
        self._positions.update(dict.fromkeys(partitions, 0))

    async def close(self) -> None:
        await self._group.close()

    async def _entered(self, partitions: Partitions, _done: Done) -> None:
        await self._on_assigned(_shards(partitions))

    async def _left(self, partitions: Partitions) -> None:
        await self._on_revoked(_shards(partitions))

    def _progress(self) -> Done:
        return {where: Progress(offset) for where, offset in self._positions.items()}


def _shards(partitions: Partitions) -> frozenset[int]:
    return frozenset(where.partition for where in partitions)
