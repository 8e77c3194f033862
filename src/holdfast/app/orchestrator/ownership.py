"""The shards of this process: their epochs, batch numbers and outbox cursors.

Laws of this file:
- Kafka's group protocol assigns, the store fences: an assigned shard is served only after `take`.
- A shard that comes back to the same process keeps its epoch if the row still bears it and this owner.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from holdfast.ports.journal import Journal, ShardBatch, ShardRow


class Owned:
    """One shard of this process. `number` is the last batch drafted, `published` the cursor of the outbox."""

    __slots__ = ("epoch", "number", "published")

    def __init__(self, row: ShardRow) -> None:
        self.epoch = row.epoch
        self.number = row.last_batch
        self.published = row.published


class Taken(NamedTuple):
    """What `take` changed: shards that are new to this process, and shards it kept."""

    fresh: frozenset[int]
    kept: frozenset[int]


class Ownership:
    """Which shards are ours, and with which epochs."""

    def __init__(self, store: Journal, owner: str) -> None:
        self._store = store
        self._owner = owner
        self._owned: dict[int, Owned] = {}

    @property
    def shards(self) -> frozenset[int]:
        return frozenset(self._owned)

    def has(self, shard: int) -> bool:
        return shard in self._owned

    async def take(self, assigned: Collection[int]) -> Taken:
        """Make this process the only writer of `assigned`, and of nothing else."""
        for shard in [shard for shard in self._owned if shard not in assigned]:
            del self._owned[shard]
        rows = await self._store.shards(list(self._owned)) if self._owned else {}
        kept = frozenset(shard for shard, row in rows.items() if self._is_mine(row))
        missing = frozenset(assigned) - kept
        if missing:
            for shard, row in (await self._store.take(missing, self._owner)).items():
                self._owned[shard] = Owned(row)
        return Taken(missing, kept)

    def lose(self, shards: Collection[int]) -> None:
        for shard in shards:
            self._owned.pop(shard, None)

    def number(self, batches: Mapping[int, ShardBatch]) -> None:
        """Give the batches of a draft their epochs, numbers and cursors, just before they are committed."""
        for shard, batch in batches.items():
            owned = self._owned[shard]
            owned.number += 1
            batch.epoch = owned.epoch
            batch.number = owned.number
            batch.published = owned.published

    def unnumber(self, batches: Mapping[int, ShardBatch]) -> None:
        """Take the numbers of a failed draft back."""
        for shard in batches:
            if shard in self._owned:
                self._owned[shard].number -= 1

    def published(self, numbers: Mapping[int, tuple[int, int]]) -> None:
        """Move cursors after everything up to a batch was acknowledged in sequence; `numbers` are (epoch, number)."""
        for shard, (epoch, number) in numbers.items():
            owned = self._owned.get(shard)
            if owned is not None and owned.epoch == epoch:
                owned.published = max(owned.published, number)

    async def lost(self, batches: Mapping[int, ShardBatch]) -> frozenset[int]:
        """Tell which shards of a draft have another owner by now."""
        rows = await self._store.shards(list(batches))
        return frozenset(shard for shard in batches if shard not in rows or not self._is_mine(rows[shard]))

    def _is_mine(self, row: ShardRow) -> bool:
        owned = self._owned.get(row.shard)
        return owned is not None and row.epoch == owned.epoch and row.owner == self._owner

    async def retake(self, batches: Mapping[int, ShardBatch]) -> bool:
        """Fence an earlier try of our own: it can no longer be written. Tells whether it had been before."""
        rows = await self._store.take(list(batches), self._owner)
        for shard, row in rows.items():
            published = self._owned[shard].published
            self._owned[shard] = Owned(row)
            self._owned[shard].published = max(published, row.published)
        return any(row.last_batch >= batches[shard].number for shard, row in rows.items())

    async def was_committed(self, batches: Mapping[int, ShardBatch]) -> bool:
        """Ask the store whether a batch whose answer was lost is there. It is all or nothing: any shard tells."""
        rows = await self._store.shards(list(batches))
        return any(
            row.epoch == batches[shard].epoch and row.last_batch >= batches[shard].number for shard, row in rows.items()
        )
