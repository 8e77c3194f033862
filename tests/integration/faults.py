"""A real store with faults: a decorator that lets each commit meet what may happen to one.

Law: whatever it answers is true. A fenced commit was fenced by a real `take`, a lost answer was really committed.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from holdfast.core.purging import Tombstone
from holdfast.ports.journal import (
    BadData,
    Committed,
    Fenced,
    InboxRow,
    OutboxRow,
    RunRow,
    ShardBatch,
    ShardRow,
    Span,
    StoredEvent,
    StoredRun,
)
from holdfast.ports.store import Store
from holdfast.ports.timers import AttemptPage, AttemptRow, TimerRow
from holdfast.ports.unavailable import ServerFault, Unavailable

Batch = Mapping[int, ShardBatch]
Fault = Callable[[Store, Batch], Awaitable[Committed | Fenced]]


async def passes(store: Store, batch: Batch) -> Committed | Fenced:
    return await store.commit(batch)


async def cut_off(store: Store, batch: Batch) -> Committed | Fenced:
    """The connection is gone before the store heard of it."""
    raise Unavailable("cut off before the commit")


async def answer_lost(store: Store, batch: Batch) -> Committed | Fenced:
    """It is committed, and nobody hears so."""
    await store.commit(batch)
    raise Unavailable("cut off after the commit")


async def one_shard_stolen(store: Store, batch: Batch) -> Committed | Fenced:
    """Another owner has taken one of the shards."""
    await store.take([max(batch)], "thief")
    return await store.commit(batch)


async def all_shards_stolen(store: Store, batch: Batch) -> Committed | Fenced:
    await store.take(list(batch), "thief")
    return await store.commit(batch)


async def committed_then_stolen(store: Store, batch: Batch) -> Committed | Fenced:
    """It is committed, nobody hears so, and another owner has taken one of the shards when we ask again."""
    await store.commit(batch)
    await store.take([min(batch)], "thief")
    raise Unavailable("cut off after the commit")


class FaultyStore:
    """`real`, whose next commits meet `faults`, one each; what holds a word of `refused` is bad data, always.

    The server fails about what holds a word of `broken`, about all writing while it `is_down`, and about reading a run
    of `unreadable`.
    """

    def __init__(self, real: Store) -> None:
        self.real = real
        self.faults: deque[Fault] = deque()
        self.refused: set[bytes] = set()
        self.broken: set[bytes] = set()
        self.unreadable: set[str] = set()
        self.is_down = False
        self.away = False
        self.commits = 0
        self.met: list[str] = []
        self.sizes: list[int] = []

    async def commit(self, batch: Batch) -> Committed | Fenced:
        self._reach()
        self.commits += 1
        self.sizes.append(sum(len(part.events) for part in batch.values()))
        self._judge(*(event.data for part in batch.values() for event in part.events))
        self._judge(*(kept.data for part in batch.values() for kept in part.inbox_put))
        self._judge(*(repr(run.attributes).encode() for part in batch.values() for run in part.started))
        self._fail(*(event.data for part in batch.values() for event in part.events))
        fault = self.faults.popleft() if self.faults else passes
        self.met.append(fault.__name__)
        return await fault(self.real, batch)

    def _judge(self, *data: bytes) -> None:
        for word in self.refused:
            if any(word in one for one in data):
                raise BadData("a value is refused")

    def _fail(self, *data: bytes) -> None:
        if self.is_down or any(word in one for word in self.broken for one in data):
            raise ServerFault("out of memory")

    def _reach(self) -> None:
        if self.away:
            raise Unavailable("away")

    async def open(self) -> None:
        await self.real.open()

    async def close(self) -> None:
        await self.real.close()

    async def install(self, shards: int) -> list[str]:
        return await self.real.install(shards)

    async def pending_migrations(self) -> list[str]:
        return await self.real.pending_migrations()

    async def meta(self) -> Mapping[str, str]:
        return await self.real.meta()

    async def set_meta(self, facts: Mapping[str, str]) -> None:
        await self.real.set_meta(facts)

    async def now(self) -> int:
        return await self.real.now()

    async def shards(self, shards: Collection[int]) -> Mapping[int, ShardRow]:
        self._reach()
        return await self.real.shards(shards)

    async def take(self, shards: Collection[int], owner: str) -> Mapping[int, ShardRow]:
        self._reach()
        self._fail()
        return await self.real.take(shards, owner)

    async def outbox(
        self, shards: Collection[int], limit: int, after: tuple[int, int] | None = None
    ) -> Sequence[OutboxRow]:
        self._reach()
        return await self.real.outbox(shards, limit, after)

    async def load(self, run_ids: Collection[str]) -> Mapping[str, StoredRun]:
        self._reach()
        if not self.unreadable.isdisjoint(run_ids):
            raise ServerFault("an invalid page in block 7")
        return await self.real.load(run_ids)

    async def existing(self, run_ids: Collection[str]) -> frozenset[str]:
        self._reach()
        return await self.real.existing(run_ids)

    async def tombstones(self, run_ids: Collection[str]) -> Mapping[str, Tombstone]:
        self._reach()
        return await self.real.tombstones(run_ids)

    async def unsettled(self, run_ids: Collection[str]) -> frozenset[str]:
        self._reach()
        return await self.real.unsettled(run_ids)

    async def inbox(self, run_ids: Collection[str]) -> Sequence[InboxRow]:
        self._reach()
        return await self.real.inbox(run_ids)

    async def expired_inbox(self, shards: Collection[int], before: int, limit: int) -> Sequence[InboxRow]:
        self._reach()
        return await self.real.expired_inbox(shards, before, limit)

    async def seen_signals(self, pairs: Collection[tuple[str, str]]) -> frozenset[tuple[str, str]]:
        self._reach()
        self._judge(*(message_id.encode() for _, message_id in pairs))
        return await self.real.seen_signals(pairs)

    async def due_timers(
        self, shards: Collection[int], until: int, limit: int, after: TimerRow | None = None
    ) -> Sequence[TimerRow]:
        self._reach()
        return await self.real.due_timers(shards, until, limit, after)

    async def open_attempts(self, shards: Collection[int], until: int, limit: int, after: object = None) -> AttemptPage:
        self._reach()
        return await self.real.open_attempts(shards, until, limit, after)

    async def attempts(self, keys: Collection[tuple[str, int, str]]) -> Sequence[AttemptRow]:
        self._reach()
        return await self.real.attempts(keys)

    async def runs(
        self, *, status: str | None = None, workflow: str | None = None, limit: int = 100, after: str | None = None
    ) -> Sequence[RunRow]:
        return await self.real.runs(status=status, workflow=workflow, limit=limit, after=after)

    async def history(self, run_id: str) -> StoredRun | None:
        return await self.real.history(run_id)

    async def incarnation(self, run_id: str, incarnation: int) -> Sequence[StoredEvent]:
        return await self.real.incarnation(run_id, incarnation)

    async def history_between(
        self, since: int, until: int, *, outcomes_only: bool, after: Span | None, limit: int
    ) -> Sequence[StoredEvent]:
        return await self.real.history_between(since, until, outcomes_only=outcomes_only, after=after, limit=limit)

    async def put_blobs(self, blobs: Mapping[str, bytes]) -> None:
        self._reach()
        await self.real.put_blobs(blobs)

    async def blobs(self, names: Collection[str]) -> Mapping[str, bytes]:
        self._reach()
        return await self.real.blobs(names)

    async def changed(self, since: int) -> int:
        return await self.real.changed(since)
