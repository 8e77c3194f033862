"""The simulated store: the truth of a world in memory, and the front that each process has to it.

Laws of this file:
- `Truth` fulfils the laws of the ports of the store, each method at once; the front adds the way there and back.
- A batch is checked whole before anything of it is written. An old number is fenced, as by PostgreSQL's store: an
  earlier try whose answer was lost may still be on its way.
- Nothing of a front's process is in the truth but what it committed.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from holdfast.adapters.ledger import committed
from holdfast.core.events import OUTCOMES
from holdfast.core.purging import Tombstone
from holdfast.ports.installation import NotInstalled
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
from holdfast.ports.timers import AttemptPage, AttemptRow, TimerRow
from holdfast.ports.unavailable import Unavailable
from tests.simulation.deaths import Obituaries
from tests.simulation.deferred import DeferredRows
from tests.simulation.faults import STEAL
from tests.simulation.ledger import Rows
from tests.simulation.schemas import SchemaRows
from tests.simulation.wire import Wire

COMMITTED = Committed()
LONGEST_WAIT = 2.0
STOLEN = 0.01
"""How often a commit finds that one of its shards has just been taken."""
BIGGEST = 2**63
_ENDS = frozenset(kind.__name__ for kind in OUTCOMES)

Incarnation = tuple[str, int]
Key = tuple[str, int, str]
Heard = Callable[[Mapping[int, ShardBatch], str], None]
Row = TypeVar("Row", AttemptRow, TimerRow)


class Truth:
    """All rows. `heard` is told of every batch that was written, and by whom."""

    def __init__(self, now: Callable[[], int], heard: Heard = lambda _batch, _by: None) -> None:
        self.now = now
        self.heard = heard
        self.ledger = Rows(now)
        self.deaths = Obituaries(now)
        self.deferred = DeferredRows(now)
        self.schemas = SchemaRows()
        self.away = False
        self.failovers = 0
        self.commit_time = 0.0
        """Seconds that a commit takes besides its way, while the store is busy."""
        self.facts: dict[str, str] = {}
        self.rows: dict[int, ShardRow] = {}
        self.present: dict[str, int] = {}
        self.runs_by: dict[Incarnation, RunRow] = {}
        self.histories: dict[Incarnation, list[StoredEvent]] = {}
        self.open: dict[Key, AttemptRow] = {}
        self.timers: dict[Key, TimerRow] = {}
        self.signals: set[tuple[str, str]] = set()
        self.inbox_rows: dict[tuple[str, str], InboxRow] = {}
        self.outbox_rows: dict[tuple[int, int], tuple[Span, ...]] = {}
        self.buried: dict[str, Tombstone] = {}
        self.archive: dict[str, StoredRun] = {}
        """Runs as they were purged, for whoever judges the world."""
        self.blobs_by: dict[str, bytes] = {}
        self.mark = 1
        self.waiting: list[asyncio.Future[None]] = []

    # -- installation

    def install(self, shards: int) -> list[str]:
        known = self.facts.get("shards")
        if known is not None:
            if int(known) != shards:
                raise ValueError(f"installed with {known} shards, not {shards}")
            return []
        self.facts |= {"shards": str(shards), "schema": "1", "installation": "simulated"}
        self.rows = {shard: ShardRow(shard, 0, "", 0, 0) for shard in range(shards)}
        return ["0001_tables"]

    def pending_migrations(self) -> list[str]:
        return [] if self.facts else ["0001_tables"]

    def require(self) -> None:
        if not self.facts:
            raise NotInstalled("install first")

    def meta(self) -> Mapping[str, str]:
        return dict(self.facts)

    def set_meta(self, facts: Mapping[str, str]) -> None:
        self.facts |= facts

    # -- shards and commits

    def shards(self, shards: Collection[int]) -> Mapping[int, ShardRow]:
        return {shard: self.rows[shard] for shard in shards if shard in self.rows}

    def take(self, shards: Collection[int], owner: str) -> Mapping[int, ShardRow]:
        for shard in shards:
            row = self.rows[shard]
            self.rows[shard] = ShardRow(shard, row.epoch + 1, owner, row.last_batch, row.published)
        return self.shards(shards)

    def commit(self, batch: Mapping[int, ShardBatch], by: str = "") -> Committed | Fenced:
        stale = frozenset(shard for shard, part in batch.items() if not self._is_new(shard, part))
        if stale:
            return Fenced(stale)
        if not batch:
            return COMMITTED
        for part in batch.values():
            self._check(part)
        self.ledger.check([effect for part in batch.values() for effect in part.planned])
        for shard, part in batch.items():
            row = self.rows[shard]
            self.rows[shard] = ShardRow(shard, row.epoch, row.owner, part.number, part.published)
            self._write(shard, part)
            self.ledger.plan(part.planned)
        asked = [one for part in batch.values() for one in part.asked]
        answers = self.ledger.ask(asked)
        self.heard(batch, by)
        self._tell()
        return committed(asked, answers)

    def _is_new(self, shard: int, part: ShardBatch) -> bool:
        row = self.rows.get(shard)
        return row is not None and row.epoch == part.epoch and row.last_batch < part.number

    def _check(self, part: ShardBatch) -> None:
        """Refuse what a table with its keys would refuse."""
        started = {(row.run_id, row.incarnation) for row in part.started}
        for run_id, incarnation in started:
            if self.present.get(run_id, -1) >= incarnation:
                raise BadData(f"run {run_id} exists")
            if run_id in self.buried:
                raise BadData(f"run {run_id} was purged")
        if unsettled := self.unsettled([one.run_id for one in part.purged]):
            raise BadData(f"runs {sorted(unsettled)} are not settled")
        places: dict[Incarnation, set[int]] = {}
        for event in part.events:
            run = (event.run_id, event.incarnation)
            if run not in self.runs_by and run not in started:
                raise BadData(f"run {event.run_id} was never started")
            seqs = places.setdefault(run, set())
            # Seqs are dense from 1, so that those that are there are counted, not looked up.
            if event.seq in seqs or event.seq <= len(self.histories.get(run, ())):
                raise BadData(f"seq {event.seq} of run {event.run_id} is there")
            seqs.add(event.seq)
        taken = set(part.signals)
        if len(taken) < len(part.signals) or taken & self.signals:
            raise BadData("a signal is taken twice")
        for numbers in ([t.due_at for t in part.timers_set], [a.resend_at for a in part.attempts_opened]):
            if any(not -BIGGEST <= number < BIGGEST for number in numbers):
                raise BadData("a number does not fit")

    def _write(self, shard: int, part: ShardBatch) -> None:
        for row in (*part.started, *part.changed):
            self.runs_by[row.run_id, row.incarnation] = row
            self.present[row.run_id] = max(row.incarnation, self.present.get(row.run_id, 0))
        for event in part.events:
            self.histories.setdefault((event.run_id, event.incarnation), []).append(event)
        _replace(self.open, part.attempts_closed, part.attempts_opened, lambda row: row.step_id)
        _replace(self.timers, part.timers_cleared, part.timers_set, lambda row: row.timer_id)
        self.signals.update(part.signals)
        for pair in part.inbox_taken:
            self.inbox_rows.pop(pair, None)
        for waiting in part.inbox_put:
            self.inbox_rows.setdefault((waiting.run_id, waiting.message_id), waiting)
        for place in [place for place in self.outbox_rows if place[0] == shard and place[1] <= part.published]:
            del self.outbox_rows[place]
        if part.spans:
            self.outbox_rows[shard, part.number] = tuple(part.spans)
        for tombstone in part.purged:
            self._purge(tombstone)

    def _purge(self, tombstone: Tombstone) -> None:
        run_id = tombstone.run_id
        if (stored := self.history(run_id)) is not None:
            self.archive[run_id] = stored
        self.buried.setdefault(run_id, replace(tombstone, purged_at=self.now()))
        self.present.pop(run_id, None)
        tables: tuple[dict[Any, Any], ...] = (
            self.runs_by,
            self.histories,
            self.timers,
            self.inbox_rows,
            self.deaths.rows,
        )
        for table in tables:
            for key in [key for key in table if key[0] == run_id]:
                del table[key]
        self.signals = {pair for pair in self.signals if pair[0] != run_id}
        self.ledger.purge(run_id)

    def _tell(self) -> None:
        self.mark += 1
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    # -- reading

    def outbox(self, shards: Collection[int], limit: int, after: tuple[int, int] | None = None) -> Sequence[OutboxRow]:
        found = [
            OutboxRow(shard, number, spans)
            for (shard, number), spans in sorted(self.outbox_rows.items())
            if shard in shards and number > self.rows[shard].published and (shard, number) > (after or (-1, 0))
        ]
        return found[:limit]

    def load(self, run_ids: Collection[str]) -> Mapping[str, StoredRun]:
        found = {run_id: self.history(run_id) for run_id in sorted(run_ids)}
        return {run_id: stored for run_id, stored in found.items() if stored is not None}

    def history(self, run_id: str) -> StoredRun | None:
        incarnation = self.present.get(run_id)
        if incarnation is None:
            return None
        place = (run_id, incarnation)
        return StoredRun(self.runs_by[place], tuple(self.histories.get(place, ())))

    def incarnation(self, run_id: str, incarnation: int) -> Sequence[StoredEvent]:
        return list(self.histories.get((run_id, incarnation), ()))

    def existing(self, run_ids: Collection[str]) -> frozenset[str]:
        return frozenset(run_id for run_id in run_ids if run_id in self.present or run_id in self.buried)

    def tombstones(self, run_ids: Collection[str]) -> Mapping[str, Tombstone]:
        return {run_id: self.buried[run_id] for run_id in run_ids if run_id in self.buried}

    def unsettled(self, run_ids: Collection[str]) -> frozenset[str]:
        awaited = {run_id for run_id, _, _ in self.open}
        awaited |= {effect.run_id for effect in self.ledger.rows.values() if not effect.settled}
        return frozenset(
            run_id
            for run_id in run_ids
            if run_id in self.present
            and (self.runs_by[run_id, self.present[run_id]].ended_at is None or run_id in awaited)
        )

    def inbox(self, run_ids: Collection[str]) -> Sequence[InboxRow]:
        return [row for row in self.inbox_rows.values() if row.run_id in run_ids]

    def expired_inbox(self, shards: Collection[int], before: int, limit: int) -> Sequence[InboxRow]:
        found = [row for row in self.inbox_rows.values() if row.shard in shards and row.at < before]
        return found[:limit]

    def seen_signals(self, pairs: Collection[tuple[str, str]]) -> frozenset[tuple[str, str]]:
        return frozenset(self.signals.intersection(pairs))

    def due_timers(
        self, shards: Collection[int], until: int, limit: int, after: TimerRow | None = None
    ) -> Sequence[TimerRow]:
        due = [row for row in self.timers.values() if row.shard in shards and row.due_at <= until]
        due = [row for row in due if after is None or _time_of(row) > _time_of(after)]
        return sorted(due, key=_time_of)[:limit]

    def open_attempts(self, shards: Collection[int], until: int, limit: int, after: object = None) -> AttemptPage:
        """Look at `limit` attempts by their keys, due or not, as the embedded store does."""
        keys = sorted(key for key in self.open if after is None or key > after)  # type: ignore[operator]  # of our own making
        page = [self.open[key] for key in keys[:limit]]
        due = tuple(row for row in page if row.shard in shards and row.resend_at <= until)
        return AttemptPage(due, keys[limit - 1] if len(keys) > limit else None)

    def attempts(self, keys: Collection[Key]) -> Sequence[AttemptRow]:
        return [self.open[key] for key in sorted(set(keys)) if key in self.open]

    def runs(
        self, *, status: str | None = None, workflow: str | None = None, limit: int = 100, after: str | None = None
    ) -> Sequence[RunRow]:
        busy = {key[:2] for key in self.open}
        shown: list[RunRow] = []
        for run_id in sorted(self.present):
            row = self.runs_by[run_id, self.present[run_id]]
            if row.status == "RUNNING" and (run_id, row.incarnation) not in busy:
                row = RunRow(
                    row.run_id, row.incarnation, row.shard, row.workflow, row.version, "SUSPENDED", row.attributes,
                    row.started_at, row.ended_at, row.parked,
                )  # fmt: skip
            wanted = status in {None, row.status} and workflow in {None, row.workflow}
            if wanted and (after is None or run_id > after):
                shown.append(row)
        return shown[:limit]

    def history_between(
        self, since: int, until: int, *, outcomes_only: bool, after: Span | None, limit: int
    ) -> Sequence[StoredEvent]:
        behind = ("", 0, 0) if after is None else (after.run_id, after.incarnation, after.last)
        found = [
            event
            for place in sorted(self.histories)
            for event in self.histories[place]
            if since <= event.at < until and (*place, event.seq) > behind and (not outcomes_only or event.type in _ENDS)
        ]
        return found[:limit]

    def put_blobs(self, blobs: Mapping[str, bytes]) -> None:
        for name, data in blobs.items():
            self.blobs_by.setdefault(name, data)

    def blobs(self, names: Collection[str]) -> Mapping[str, bytes]:
        return {name: self.blobs_by[name] for name in sorted(names) if name in self.blobs_by}


def _time_of(row: TimerRow) -> tuple[int, str, str, int]:
    return row.due_at, row.timer_id, row.run_id, row.incarnation


def _replace(table: dict[Key, Row], cleared: Iterable[Key], put: Iterable[Row], name: Callable[[Row], str]) -> None:
    for key in cleared:
        table.pop(key, None)
    for row in put:
        table[row.run_id, row.incarnation, name(row)] = row


class SimulatedStore:
    """Fulfils `ports.store.Store`: one process's front to the truth."""

    def __init__(self, truth: Truth, wire: Wire) -> None:
        self.truth = truth
        self.wire = wire

    async def open(self) -> None:
        await self.wire.ask(self.truth, Unavailable, self.truth.require)

    async def close(self) -> None:
        """Nothing to let go of."""

    async def install(self, shards: int) -> list[str]:
        return await self.wire.ask(self.truth, Unavailable, self.truth.install, shards)

    async def pending_migrations(self) -> list[str]:
        return await self.wire.ask(self.truth, Unavailable, self.truth.pending_migrations)

    async def meta(self) -> Mapping[str, str]:
        return await self.wire.ask(self.truth, Unavailable, self.truth.meta)

    async def set_meta(self, facts: Mapping[str, str]) -> None:
        await self.wire.ask(self.truth, Unavailable, self.truth.set_meta, facts)

    async def now(self) -> int:
        return await self.wire.ask(self.truth, Unavailable, self.truth.now)

    async def shards(self, shards: Collection[int]) -> Mapping[int, ShardRow]:
        return await self.wire.ask(self.truth, Unavailable, self.truth.shards, sorted(shards))

    async def take(self, shards: Collection[int], owner: str) -> Mapping[int, ShardRow]:
        return await self.wire.ask(self.truth, Unavailable, self.truth.take, sorted(shards), owner)

    async def commit(self, batch: Mapping[int, ShardBatch]) -> Committed | Fenced:
        wire, sent = self.wire, copied(batch)
        fault = wire.faults.at(f"{wire.life.name}/commit", (STEAL,), STOLEN) if batch else None
        if fault is not None:
            shards = sorted(batch)
            self.truth.take([shards[int(fault.how * len(shards))]], "a ghost")
        if self.truth.commit_time:
            await wire.pass_time(self.truth.commit_time)
        return await wire.ask(self.truth, Unavailable, self.truth.commit, sent, wire.life.name)

    async def outbox(
        self, shards: Collection[int], limit: int, after: tuple[int, int] | None = None
    ) -> Sequence[OutboxRow]:
        return await self.wire.ask(self.truth, Unavailable, self.truth.outbox, frozenset(shards), limit, after)

    async def load(self, run_ids: Collection[str]) -> Mapping[str, StoredRun]:
        return await self.wire.ask(self.truth, Unavailable, self.truth.load, sorted(run_ids))

    async def existing(self, run_ids: Collection[str]) -> frozenset[str]:
        return await self.wire.ask(self.truth, Unavailable, self.truth.existing, sorted(run_ids))

    async def tombstones(self, run_ids: Collection[str]) -> Mapping[str, Tombstone]:
        return await self.wire.ask(self.truth, Unavailable, self.truth.tombstones, sorted(run_ids))

    async def unsettled(self, run_ids: Collection[str]) -> frozenset[str]:
        return await self.wire.ask(self.truth, Unavailable, self.truth.unsettled, sorted(run_ids))

    async def inbox(self, run_ids: Collection[str]) -> Sequence[InboxRow]:
        return await self.wire.ask(self.truth, Unavailable, self.truth.inbox, sorted(run_ids))

    async def expired_inbox(self, shards: Collection[int], before: int, limit: int) -> Sequence[InboxRow]:
        return await self.wire.ask(self.truth, Unavailable, self.truth.expired_inbox, frozenset(shards), before, limit)

    async def seen_signals(self, pairs: Collection[tuple[str, str]]) -> frozenset[tuple[str, str]]:
        return await self.wire.ask(self.truth, Unavailable, self.truth.seen_signals, sorted(pairs))

    async def due_timers(
        self, shards: Collection[int], until: int, limit: int, after: TimerRow | None = None
    ) -> Sequence[TimerRow]:
        truth = self.truth
        return await self.wire.ask(truth, Unavailable, truth.due_timers, frozenset(shards), until, limit, after)

    async def open_attempts(self, shards: Collection[int], until: int, limit: int, after: object = None) -> AttemptPage:
        truth = self.truth
        return await self.wire.ask(truth, Unavailable, truth.open_attempts, frozenset(shards), until, limit, after)

    async def attempts(self, keys: Collection[Key]) -> Sequence[AttemptRow]:
        return await self.wire.ask(self.truth, Unavailable, self.truth.attempts, sorted(keys))

    async def runs(
        self, *, status: str | None = None, workflow: str | None = None, limit: int = 100, after: str | None = None
    ) -> Sequence[RunRow]:
        truth = self.truth
        return await self.wire.ask(
            truth, Unavailable, truth.runs, status=status, workflow=workflow, limit=limit, after=after
        )

    async def history(self, run_id: str) -> StoredRun | None:
        return await self.wire.ask(self.truth, Unavailable, self.truth.history, run_id)

    async def incarnation(self, run_id: str, incarnation: int) -> Sequence[StoredEvent]:
        return await self.wire.ask(self.truth, Unavailable, self.truth.incarnation, run_id, incarnation)

    async def history_between(
        self, since: int, until: int, *, outcomes_only: bool, after: Span | None, limit: int
    ) -> Sequence[StoredEvent]:
        truth = self.truth
        return await self.wire.ask(
            truth,
            Unavailable,
            truth.history_between,
            since,
            until,
            outcomes_only=outcomes_only,
            after=after,
            limit=limit,
        )

    async def put_blobs(self, blobs: Mapping[str, bytes]) -> None:
        await self.wire.ask(self.truth, Unavailable, self.truth.put_blobs, dict(blobs))

    async def blobs(self, names: Collection[str]) -> Mapping[str, bytes]:
        return await self.wire.ask(self.truth, Unavailable, self.truth.blobs, sorted(names))

    async def changed(self, since: int) -> int:
        truth = self.truth
        if truth.mark <= since:
            woken = asyncio.get_running_loop().create_future()
            truth.waiting.append(woken)
            await asyncio.wait([woken], timeout=LONGEST_WAIT)
        return await self.wire.ask(truth, Unavailable, lambda: truth.mark)


def copied(batch: Mapping[int, ShardBatch]) -> dict[int, ShardBatch]:
    """Take a batch as it is now: its sender writes the epochs and numbers of the next try into it."""
    return {
        shard: ShardBatch(
            part.epoch,
            part.number,
            part.published,
            part.events,
            part.started,
            part.changed,
            part.attempts_opened,
            part.attempts_closed,
            part.timers_set,
            part.timers_cleared,
            part.signals,
            part.inbox_put,
            part.inbox_taken,
            part.spans,
            part.planned,
            part.asked,
            part.purged,
        )
        for shard, part in batch.items()
    }
