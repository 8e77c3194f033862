"""The store in PostgreSQL: every method is one transaction, most are one round trip.

Laws of this file:
- Commits go over a connection of their own, one after the other; questions never wait for them.
- A call that was cancelled or timed out leaves no connection behind on which something may still happen.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from holdfast.adapters.ledger import COMMITTED, Refusals, committed
from holdfast.adapters.postgres import moves, schema
from holdfast.adapters.postgres.arrays import binaries, numbers, texts
from holdfast.adapters.postgres.commit import laid_out
from holdfast.adapters.postgres.connections import Connections
from holdfast.adapters.postgres.statements import statement
from holdfast.core.events import OUTCOMES
from holdfast.core.purging import Tombstone
from holdfast.ports.journal import (
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

LONGEST_WAIT = 2.0
_EVER = -(2**63)
_BEFORE_ALL_TIMERS = TimerRow("", 0, "", 0, _EVER)

_spans = msgspec.msgpack.Decoder(tuple[Span, ...]).decode
_attributes = msgspec.json.Decoder(dict[str, str]).decode
_OUTCOMES = tuple(kind.__name__ for kind in OUTCOMES)


class PostgresStore:
    """The truth in the schema `namespace` of the database `url`."""

    def __init__(self, url: str, namespace: str, *, questions: int = 4) -> None:
        self.namespace = schema.checked(namespace)
        self._commits = Connections(url, namespace, 1)
        self.questions = Connections(url, namespace, questions)
        self._where = f'{self.questions.where}, schema "{namespace}"'
        self._committed = asyncio.Event()
        self.refusals = Refusals()

    async def open(self) -> None:
        self.questions.open()
        self._commits.open()
        try:
            async with self.questions.lend() as connection:
                await schema.check(connection, self._where)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._commits.close()
        await self.questions.close()

    async def install(self, shards: int) -> list[str]:
        async with self.questions.apart() as connection:
            return await schema.install(connection, self.namespace, self._where, shards)

    async def pending_migrations(self) -> list[str]:
        async with self.questions.apart() as connection:
            return await schema.pending_names(connection, self._where)

    async def meta(self) -> Mapping[str, str]:
        return dict(await self._ask("read_meta"))

    async def set_meta(self, facts: Mapping[str, str]) -> None:
        if own := schema.OWN_FACTS & facts.keys():
            raise ValueError(f"{', '.join(sorted(own))}: written by the installation alone")
        async with self.questions.lend() as connection:
            await schema.write_facts(connection, dict(facts))

    async def now(self) -> int:
        rows = await self._ask("read_clock")
        return int(rows[0][0])

    async def shards(self, shards: Collection[int]) -> Mapping[int, ShardRow]:
        return {row[0]: ShardRow(*row) for row in await self._ask("read_shards", shards=numbers(shards))}

    async def take(self, shards: Collection[int], owner: str) -> Mapping[int, ShardRow]:
        rows = await self._ask("take_shards", shards=numbers(shards), owner=owner)
        return {row[0]: ShardRow(*row) for row in rows}

    async def commit(self, batch: Mapping[int, ShardBatch]) -> Committed | Fenced:
        if not batch:
            return COMMITTED
        asked = [one for part in batch.values() for one in part.asked]
        async with self._commits.lend() as connection:
            if asked:
                stale, answers = await moves.commit(connection, batch, asked)
            else:
                stale, answers = await connection.run_packed(*laid_out(batch)), []
        if stale:
            return Fenced(frozenset(shard for (shard,) in stale))
        self._committed.set()
        self._committed = asyncio.Event()
        self.refusals.note(asked, answers)
        return committed(asked, answers)

    async def outbox(
        self, shards: Collection[int], limit: int, after: tuple[int, int] | None = None
    ) -> Sequence[OutboxRow]:
        shard, number = after or (-1, 0)
        rows = await self._ask("read_outbox", shards=numbers(shards), shard=shard, number=number, limit=limit)
        return [OutboxRow(shard, number, _spans(spans)) for shard, number, spans in rows]

    async def load(self, run_ids: Collection[str]) -> Mapping[str, StoredRun]:
        if not run_ids:
            return {}
        async with self.questions.lend() as connection:
            runs, history = await connection.ask_at_once({"run_ids": texts(run_ids)}, "read_runs", "read_histories")
        events: dict[str, list[StoredEvent]] = {row[0]: [] for row in runs}
        for row in history:
            events[row[0]].append(StoredEvent(*row))
        return {row[0]: StoredRun(_run(row), tuple(events[row[0]])) for row in runs}

    async def existing(self, run_ids: Collection[str]) -> frozenset[str]:
        if not run_ids:
            return frozenset()
        async with self.questions.lend() as connection:
            rows = await connection.run_packed(statement("existing_runs"), {"run_ids": texts(run_ids)})
        return frozenset(found for (found,) in rows)

    async def tombstones(self, run_ids: Collection[str]) -> Mapping[str, Tombstone]:
        rows = await self._ask("read_tombstones", run_ids=texts(run_ids)) if run_ids else ()
        return {row[0]: Tombstone(*row) for row in rows}

    async def unsettled(self, run_ids: Collection[str]) -> frozenset[str]:
        return frozenset(found for (found,) in await self._ask("unsettled_runs", run_ids=texts(run_ids)))

    async def inbox(self, run_ids: Collection[str]) -> Sequence[InboxRow]:
        return [InboxRow(*row) for row in await self._ask("read_inbox", run_ids=texts(run_ids))]

    async def expired_inbox(self, shards: Collection[int], before: int, limit: int) -> Sequence[InboxRow]:
        rows = await self._ask("expired_inbox", shards=numbers(shards), before=before, limit=limit)
        return [InboxRow(*row) for row in rows]

    async def seen_signals(self, pairs: Collection[tuple[str, str]]) -> frozenset[tuple[str, str]]:
        if not pairs:
            return frozenset()
        runs, messages = zip(*pairs, strict=True)
        return frozenset(await self._ask("seen_signals", run_ids=texts(runs), message_ids=texts(messages)))

    async def due_timers(
        self, shards: Collection[int], until: int, limit: int, after: TimerRow | None = None
    ) -> Sequence[TimerRow]:
        last = after or _BEFORE_ALL_TIMERS
        rows = await self._ask(
            "due_timers",
            shards=numbers(shards), until=until, limit=limit,
            due_at=last.due_at, timer_id=last.timer_id, run_id=last.run_id, incarnation=last.incarnation,
        )  # fmt: skip
        return [TimerRow(*row) for row in rows]

    async def open_attempts(self, shards: Collection[int], until: int, limit: int, after: object = None) -> AttemptPage:
        """Read as many of each shard; a shard that gives fewer is done with, and the others have its share."""
        places: Any = after or tuple((shard, _EVER, "", 0, "") for shard in shards)
        if not places:
            return AttemptPage(())
        share = max(1, limit // len(places))
        begins = list(zip(*places, strict=True))
        found = await self._ask(
            "open_attempts",
            shards=numbers(begins[0]), resend_ats=numbers(begins[1]), run_ids=texts(begins[2]),
            incarnations=numbers(begins[3]), step_ids=texts(begins[4]), until=until, limit=share,
        )  # fmt: skip
        rows = tuple(AttemptRow(*row) for row in found)
        counts = Counter(row.shard for row in rows)
        lasts = {row.shard: (row.shard, row.resend_at, row.run_id, row.incarnation, row.step_id) for row in rows}
        return AttemptPage(rows, tuple(lasts[shard] for shard, count in counts.items() if count == share) or None)

    async def attempts(self, keys: Collection[tuple[str, int, str]]) -> Sequence[AttemptRow]:
        if not keys:
            return []
        runs, incarnations, steps = zip(*sorted(set(keys)), strict=True)
        rows = await self._ask(
            "read_attempts", run_ids=texts(runs), incarnations=numbers(incarnations), step_ids=texts(steps)
        )
        return [AttemptRow(*row) for row in rows]

    async def runs(
        self, *, status: str | None = None, workflow: str | None = None, limit: int = 100, after: str | None = None
    ) -> Sequence[RunRow]:
        rows = await self._ask("list_runs", status=status, workflow=workflow, limit=limit, after=after or "")
        return [_run(row) for row in rows]

    async def history(self, run_id: str) -> StoredRun | None:
        return (await self.load([run_id])).get(run_id)

    async def incarnation(self, run_id: str, incarnation: int) -> Sequence[StoredEvent]:
        rows = await self._ask("read_incarnation", run_id=run_id, incarnation=incarnation)
        return [StoredEvent(*row) for row in rows]

    async def history_between(
        self, since: int, until: int, *, outcomes_only: bool, after: Span | None, limit: int
    ) -> Sequence[StoredEvent]:
        last = after or Span("", 0, 0, 0)
        rows = await self._ask(
            "history_between",
            run_id=last.run_id, incarnation=last.incarnation, last=last.last,
            since=since, until=until, types=texts(_OUTCOMES if outcomes_only else ()), limit=limit,
        )  # fmt: skip
        return [StoredEvent(*row) for row in rows]

    async def put_blobs(self, blobs: Mapping[str, bytes]) -> None:
        await self._ask("put_blobs", names=texts(blobs), blobs=binaries(blobs.values()))

    async def blobs(self, names: Collection[str]) -> Mapping[str, bytes]:
        return dict(await self._ask("read_blobs", names=texts(names))) if names else {}

    async def changed(self, since: int) -> int:
        """Tell of this process's commits at once, of other processes' after a pause."""
        committed = self._committed
        mark = await self._mark()
        if mark > since:
            return mark
        try:
            async with asyncio.timeout(LONGEST_WAIT):
                await committed.wait()
        except TimeoutError:
            pass
        return await self._mark()

    async def _mark(self) -> int:
        rows = await self._ask("read_mark")
        return int(rows[0][0])

    async def _ask(self, name: str, **values: Any) -> list[Any]:
        async with self.questions.lend() as connection:
            return await connection.run(statement(name), values)


def _run(row: Any) -> RunRow:
    run_id, incarnation, shard, workflow, version, status, attributes, started_at, ended_at, parked = row
    return RunRow(
        run_id, incarnation, shard, workflow, version, status, _attributes(attributes), started_at, ended_at, parked
    )
