"""What the suites write: small batches, said briefly. Times are microseconds; shards are given, not computed."""

from collections.abc import Mapping
from uuid import uuid4

from holdfast.ports.journal import BadData, Committed, Fenced, InboxRow, RunRow, ShardBatch, ShardRow, StoredEvent
from holdfast.ports.store import Store
from holdfast.ports.timers import AttemptRow, TimerRow

SECOND = 1_000_000
SHARDS = 8


def run(
    run_id: str, shard: int = 0, *, incarnation: int = 0, workflow: str = "order", status: str = "RUNNING"
) -> RunRow:
    """Give the row of a run."""
    return RunRow(run_id, incarnation, shard, workflow, "1", status, {"by": "suite"}, started_at=SECOND)


def event(run_id: str, seq: int, kind: str = "StepCompleted", *, incarnation: int = 0, at: int = SECOND) -> StoredEvent:
    """Give an event whose bytes tell its place."""
    return StoredEvent(run_id, incarnation, seq, kind, f"{run_id}/{incarnation}/{seq}\x00\xff".encode("latin-1"), at)


def attempt(run_id: str, step_id: str, shard: int = 0, *, sent_to: str | None = None, resend_at: int = 0) -> AttemptRow:
    """Give an open attempt."""
    return AttemptRow(run_id, 0, step_id, 1, shard, sent_to, resend_at)


def timer(run_id: str, timer_id: str, due_at: int, shard: int = 0) -> TimerRow:
    """Give a durable wait."""
    return TimerRow(run_id, 0, timer_id, shard, due_at)


def waiting(run_id: str, message_id: str, shard: int = 0, *, at: int = SECOND) -> InboxRow:
    """Give a signal before its run."""
    return InboxRow(run_id, message_id, shard, "paid", b"\x00bytes\xff", at)


class Writer:
    """The owner of some shards: knows their epochs and numbers its batches."""

    def __init__(self, store: Store, rows: Mapping[int, ShardRow]) -> None:
        self.store = store
        self.epochs = {shard: row.epoch for shard, row in rows.items()}
        self.numbers = {shard: row.last_batch for shard, row in rows.items()}
        self.published = {shard: row.published for shard, row in rows.items()}

    def batch(self, shard: int = 0) -> ShardBatch:
        """Begin the next batch of a shard."""
        return ShardBatch(self.epochs[shard], self.numbers[shard] + 1, self.published[shard])

    async def try_commit(self, batch: Mapping[int, ShardBatch]) -> Committed | Fenced | BadData:
        """Commit; whatever was refused counts no number."""
        try:
            answer = await self.store.commit(batch)
        except BadData as refused:
            return refused
        if isinstance(answer, Committed):
            for shard, part in batch.items():
                self.numbers[shard] = part.number
        return answer

    async def commit(self, batch: Mapping[int, ShardBatch]) -> None:
        """Commit, and see that it was."""
        answer = await self.try_commit(batch)
        assert isinstance(answer, Committed), answer

    async def start(self, *run_ids: str, shard: int = 0) -> None:
        """Start runs with one event each."""
        batch = self.batch(shard)
        batch.started = [run(run_id, shard) for run_id in run_ids]
        batch.events = [event(run_id, 1, "RunStarted") for run_id in run_ids]
        await self.commit({shard: batch})


async def owner(store: Store, *shards: int, name: str = "one") -> Writer:
    """Take shards (0 if none is named)."""
    return Writer(store, await store.take(shards or (0,), name))


def unique(name: str) -> str:
    """Give a name that no test before has left traces under."""
    return f"{name}-{uuid4().hex[:12]}"
