"""The journal: what the engine writes of runs and their shards, and what it loads again.

Laws of this port (its conformance suite holds every adapter to them):
- Every method is one transaction; `commit` is all of a batch or nothing.
- One writer per shard: `take` makes an owner by raising the shard's epoch; a batch that names one stale epoch among its
  shards writes nothing of any shard.
- A batch's number is remembered in its shards' rows, so that a lost answer can be asked for.
- History is gapless: a second writer of the same `seq` fails.
- Times are integer microseconds since the epoch, by the store's own clock where the store decides.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from holdfast.core.asks import Ask
from holdfast.core.effects import Effect
from holdfast.core.purging import Tombstone
from holdfast.ports.ledger import Answer
from holdfast.ports.timers import AttemptRow, TimerRow


class BadData(Exception):
    """The store refuses something inside the batch (SQLSTATE classes 22, 23, 54): nothing of it was written."""


class StoredEvent(msgspec.Struct, frozen=True):
    """One row of history: the event's name and its encoded bytes, published as they are."""

    run_id: str
    incarnation: int
    seq: int
    type: str
    data: bytes
    at: int


class RunRow(msgspec.Struct, frozen=True):
    """What is known of a run without its history; `parked` is the reason while it is parked."""

    run_id: str
    incarnation: int
    shard: int
    workflow: str
    version: str
    status: str
    attributes: dict[str, str]
    started_at: int
    ended_at: int | None = None
    parked: str | None = None


class InboxRow(msgspec.Struct, frozen=True):
    """A signal taken in before its run exists."""

    run_id: str
    message_id: str
    shard: int
    name: str
    data: bytes
    at: int


class Span(msgspec.Struct, frozen=True, array_like=True):
    """A stretch of a run's history that still has to be published: seqs `first` to `last`, both included."""

    run_id: str
    incarnation: int
    first: int
    last: int


class ShardBatch(msgspec.Struct):
    """What one commit writes to one shard. Lists are in order; a key cleared and set again in one batch ends as set.

    `number` is the shard's batch counter (+1 each); `published` is the last batch of the shard whose outbox was
    acknowledged in sequence: the outbox up to it is trimmed. A batch whose `spans` are empty leaves no outbox row.

    `planned` are new rows of the ledger, and a second plan of one effect is refused (`BadData`); `asked` are questions
    to it (`ports/ledger.py`), decided in the same transaction, also about what is planned in it. A move that the ledger
    refuses does not fail the batch: the answer says so.

    `purged` are ended runs of which all goes: row, history, signals, inbox, effects with their moves. A tombstone is
    left: the run id is refused to whoever starts it again (`BadData`). So is the purge of a run that is not settled.
    """

    epoch: int
    number: int
    published: int
    events: list[StoredEvent] = []
    started: list[RunRow] = []
    changed: list[RunRow] = []
    attempts_opened: list[AttemptRow] = []
    attempts_closed: list[tuple[str, int, str]] = []
    timers_set: list[TimerRow] = []
    timers_cleared: list[tuple[str, int, str]] = []
    signals: list[tuple[str, str]] = []
    inbox_put: list[InboxRow] = []
    inbox_taken: list[tuple[str, str]] = []
    spans: list[Span] = []
    planned: list[Effect] = []
    asked: list[tuple[str, Ask]] = []
    purged: list[Tombstone] = []


class Committed(msgspec.Struct, frozen=True):
    """All of the batch is durable. `answers` are the ledger's, by effect id, to what the batch asked of it last."""

    answers: dict[str, Answer] = {}


class Fenced(msgspec.Struct, frozen=True):
    """Nothing was written: these shards have another owner by now."""

    shards: frozenset[int]


class ShardRow(msgspec.Struct, frozen=True):
    """The state of a shard as its owner finds it."""

    shard: int
    epoch: int
    owner: str
    last_batch: int
    published: int


class OutboxRow(msgspec.Struct, frozen=True):
    """What a committed batch still has to publish."""

    shard: int
    number: int
    spans: tuple[Span, ...]


class StoredRun(msgspec.Struct, frozen=True):
    """A run with its whole history, in order."""

    row: RunRow
    history: tuple[StoredEvent, ...]


class KnownRuns(Protocol):
    """Which runs there are: asked by the engine before a start, and by a client before it waits."""

    async def existing(self, run_ids: Collection[str]) -> frozenset[str]:
        """Tell which of these runs exist, or existed and were purged; the cheap question before a start."""

    async def tombstones(self, run_ids: Collection[str]) -> Mapping[str, Tombstone]:
        """Read what stays of those of these runs that were purged."""

    async def incarnation(self, run_id: str, incarnation: int) -> Sequence[StoredEvent]:
        """Read the whole history of one incarnation, the present one or an earlier; empty if there is none."""


class Journal(KnownRuns, Protocol):
    """The truth of the shards.

    Every method is one transaction, and raises `Unavailable` while the server is out of reach.
    """

    async def shards(self, shards: Collection[int]) -> Mapping[int, ShardRow]:
        """Read shard rows."""

    async def take(self, shards: Collection[int], owner: str) -> Mapping[int, ShardRow]:
        """Make `owner` the only writer of `shards`: epoch + 1 each; earlier epochs can no longer commit."""

    async def commit(self, batch: Mapping[int, ShardBatch]) -> Committed | Fenced:
        """Write all of `batch` or nothing; one stale epoch among its shards fences the whole.

        Raises:
            BadData: something in it is refused; nothing was written.
            Unavailable: the answer was lost; read `shards()[n].last_batch` before deciding.
        """

    async def outbox(
        self, shards: Collection[int], limit: int, after: tuple[int, int] | None = None
    ) -> Sequence[OutboxRow]:
        """Read what is still to be published (number > published), in the order (shard, number), from `after` on."""

    async def unsettled(self, run_ids: Collection[str]) -> frozenset[str]:
        """Tell which of these runs are open, or await something still: an open attempt, an effect without a verdict."""

    async def load(self, run_ids: Collection[str]) -> Mapping[str, StoredRun]:
        """Read runs with the whole history of their present incarnation; unknown ids are left out."""

    async def attempts(self, keys: Collection[tuple[str, int, str]]) -> Sequence[AttemptRow]:
        """Read those of these attempts (run id, incarnation, step id) that are open."""

    async def inbox(self, run_ids: Collection[str]) -> Sequence[InboxRow]:
        """Read signals that came before their run, in the order they came."""

    async def expired_inbox(self, shards: Collection[int], before: int, limit: int) -> Sequence[InboxRow]:
        """Read signals that came before `before` and whose run never did."""

    async def seen_signals(self, pairs: Collection[tuple[str, str]]) -> frozenset[tuple[str, str]]:
        """Tell which (run id, message id) were taken before."""
