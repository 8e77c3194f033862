"""The store on one SQLite file: every method is one transaction."""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from holdfast.adapters.ledger import COMMITTED, Refusals
from holdfast.adapters.sqlite import clock, schema
from holdfast.adapters.sqlite.commit import Commits
from holdfast.adapters.sqlite.file import SqliteFile, connect
from holdfast.adapters.sqlite.lane import Lane
from holdfast.adapters.sqlite.moves import Moves
from holdfast.adapters.sqlite.statements import statement
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

_spans = msgspec.msgpack.Decoder(tuple[Span, ...]).decode
_attributes = msgspec.json.Decoder(dict[str, str]).decode
_BEFORE_ALL_TIMERS = TimerRow("", 0, "", 0, -(2**63))
_LAST_PLACE = 2**63 - 1
_OUTCOMES = msgspec.json.encode([kind.__name__ for kind in OUTCOMES]).decode()


class SqliteStore:
    """The truth in the file `path`; clients in other processes may have it open too."""

    def __init__(self, path: str | Path) -> None:
        self.file = SqliteFile(Path(path))
        self.refusals = Refusals()
        self.moves = Moves()
        self._commits = Commits(self.refusals, self.moves)

    async def open(self) -> None:
        await self.file.open()
        try:
            await self.file.read(functools.partial(schema.check, self.file.path))
        except BaseException:
            await self.file.close()
            raise

    async def close(self) -> None:
        await self.file.close()

    async def install(self, shards: int) -> list[str]:
        path = self.file.path
        return await self._apart(lambda connection: schema.install(connection, path, shards), make=True)

    async def pending_migrations(self) -> list[str]:
        path = self.file.path
        if not path.exists():
            return schema.names()
        return await self._apart(lambda connection: schema.pending_names(connection, path), make=False)

    async def meta(self) -> Mapping[str, str]:
        return dict(await self.file.ask(lambda connection: statement("read_meta").all(connection)))

    async def set_meta(self, facts: Mapping[str, str]) -> None:
        if own := schema.OWN_FACTS & facts.keys():
            raise ValueError(f"{', '.join(sorted(own))}: written by the installation alone")
        values = list(chain.from_iterable(facts.items()))
        await self.file.write(lambda connection: statement("set_meta").write(connection, values))

    async def now(self) -> int:
        return clock.now()

    async def shards(self, shards: Collection[int]) -> Mapping[int, ShardRow]:
        return {row[0]: ShardRow(*row) for row in await self._ask("read_shards", list(shards))}

    async def take(self, shards: Collection[int], owner: str) -> Mapping[int, ShardRow]:
        wanted = list(shards)

        def work(connection: Any) -> list[Any]:
            statement("take_shards").read(connection, wanted, before=(owner,))
            return statement("read_shards").read(connection, wanted)

        return {row[0]: ShardRow(*row) for row in await self.file.write(work)} if wanted else {}

    async def commit(self, batch: Mapping[int, ShardBatch]) -> Committed | Fenced:
        if not batch:
            return COMMITTED
        return await self.file.commit(lambda connection: self._commits.write(connection, batch))

    async def outbox(
        self, shards: Collection[int], limit: int, after: tuple[int, int] | None = None
    ) -> Sequence[OutboxRow]:
        rows = await self._ask("read_outbox", list(shards), before=after or (-1, 0), after=(limit,))
        return [OutboxRow(shard, number, _spans(spans)) for shard, number, spans in rows]

    async def load(self, run_ids: Collection[str]) -> Mapping[str, StoredRun]:
        wanted = list(run_ids)

        def work(connection: Any) -> tuple[list[Any], list[Any]]:
            runs = statement("read_runs").read(connection, wanted)
            return runs, statement("read_histories").read(connection, [row[-1] for row in runs])

        runs, history = await self.file.read(work) if wanted else ([], [])
        found = {row[-1]: (_run(row[:-1]), list[StoredEvent]()) for row in runs}
        for place, *event in history:
            run, events = found[place]
            events.append(StoredEvent(run.run_id, run.incarnation, *event))
        return {run.run_id: StoredRun(run, tuple(events)) for run, events in found.values()}

    async def existing(self, run_ids: Collection[str]) -> frozenset[str]:
        wanted = list(run_ids)

        def work(connection: Any) -> list[Any]:
            found = statement("existing_runs").read(connection, wanted)
            return found + statement("buried_runs").read(connection, wanted)

        return frozenset(found for (found,) in await self.file.ask(work)) if wanted else frozenset()

    async def tombstones(self, run_ids: Collection[str]) -> Mapping[str, Tombstone]:
        return {row[0]: Tombstone(*row) for row in await self._ask("read_tombstones", list(run_ids))}

    async def unsettled(self, run_ids: Collection[str]) -> frozenset[str]:
        return frozenset(found for (found,) in await self._ask("unsettled_runs", list(run_ids)))

    async def inbox(self, run_ids: Collection[str]) -> Sequence[InboxRow]:
        return [InboxRow(*row) for row in await self._ask("read_inbox", list(run_ids))]

    async def expired_inbox(self, shards: Collection[int], before: int, limit: int) -> Sequence[InboxRow]:
        rows = await self._ask("expired_inbox", list(shards), before=(before,), after=(limit,))
        return [InboxRow(*row) for row in rows]

    async def seen_signals(self, pairs: Collection[tuple[str, str]]) -> frozenset[tuple[str, str]]:
        return frozenset(await self._ask("seen_signals", list(chain.from_iterable(pairs))))

    async def due_timers(
        self, shards: Collection[int], until: int, limit: int, after: TimerRow | None = None
    ) -> Sequence[TimerRow]:
        last = after or _BEFORE_ALL_TIMERS
        begin = (until, last.due_at, last.due_at, last.timer_id, last.run_id, last.incarnation)
        rows = await self._ask("due_timers", list(shards), before=begin, after=(limit,))
        return [TimerRow(*row) for row in rows]

    async def open_attempts(self, shards: Collection[int], until: int, limit: int, after: object = None) -> AttemptPage:
        """Walk the primary key: a page looks at `limit` attempts, due or not."""
        begin: Any = after or (0, "")
        wanted = list(shards)

        def work(connection: Any) -> AttemptPage:
            end = statement("end_of_attempts").all(connection, (*begin, limit - 1))
            bounds = (*begin, *(end[0] if end else (_LAST_PLACE, "")), until)
            rows = statement("open_attempts_between").read(connection, wanted, before=bounds)
            return AttemptPage(tuple(AttemptRow(*row) for row in rows), end[0] if end else None)

        return await self.file.ask(work) if wanted else AttemptPage(())

    async def attempts(self, keys: Collection[tuple[str, int, str]]) -> Sequence[AttemptRow]:
        rows = await self._ask("read_attempts", list(chain.from_iterable(sorted(set(keys)))))
        return list(dict.fromkeys(AttemptRow(*row) for row in rows))

    async def runs(
        self, *, status: str | None = None, workflow: str | None = None, limit: int = 100, after: str | None = None
    ) -> Sequence[RunRow]:
        wanted = {"status": status, "workflow": workflow, "limit": limit, "after": after or ""}
        rows = await self.file.read(lambda connection: statement("list_runs").all(connection, wanted))
        return [_run(row) for row in rows]

    async def history(self, run_id: str) -> StoredRun | None:
        return (await self.load([run_id])).get(run_id)

    async def incarnation(self, run_id: str, incarnation: int) -> Sequence[StoredEvent]:
        wanted = {"run_id": run_id, "incarnation": incarnation}
        rows = await self.file.read(lambda connection: statement("read_incarnation").all(connection, wanted))
        return [StoredEvent(run_id, incarnation, *row) for row in rows]

    async def history_between(
        self, since: int, until: int, *, outcomes_only: bool, after: Span | None, limit: int
    ) -> Sequence[StoredEvent]:
        wanted = {
            "run_id": "" if after is None else after.run_id,
            "incarnation": 0 if after is None else after.incarnation,
            "seq": 0 if after is None else after.last,
            "since": since,
            "until": until,
            "outcomes_only": outcomes_only,
            "outcomes": _OUTCOMES,
            "most": limit,
        }
        rows = await self.file.read(lambda connection: statement("history_between").all(connection, wanted))
        return [StoredEvent(*row) for row in rows]

    async def put_blobs(self, blobs: Mapping[str, bytes]) -> None:
        at = await self.now()
        values = list(chain.from_iterable((name, data, at) for name, data in blobs.items()))
        await self.file.write(lambda connection: statement("put_blobs").write(connection, values))

    async def blobs(self, names: Collection[str]) -> Mapping[str, bytes]:
        return dict(await self._ask("read_blobs", list(names)))

    async def changed(self, since: int) -> int:
        return await self.file.changed(since)

    async def _ask(
        self, name: str, values: Sequence[Any], before: Sequence[Any] = (), after: Sequence[Any] = ()
    ) -> list[Any]:
        if not values:
            return []
        asked = statement(name)
        return await self.file.ask(lambda connection: asked.read(connection, values, before, after))

    async def _apart(self, work: Callable[[Any], list[str]], *, make: bool) -> list[str]:
        """Do `work` on a connection of its own: the store need not be open, nor the file be there."""
        path = self.file.path
        lane = Lane(lambda: connect(path, make=make), str(path))
        try:
            return await lane.call(work)
        finally:
            await lane.close()


def _run(row: Any) -> RunRow:
    run_id, incarnation, shard, workflow, version, status, attributes, started_at, ended_at, parked = row
    return RunRow(
        run_id, incarnation, shard, workflow, version, status, _attributes(attributes), started_at, ended_at, parked
    )
