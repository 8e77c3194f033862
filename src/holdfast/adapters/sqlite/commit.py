"""One commit: the fence first, then everything of the batch, a few wide statements in all.

Laws of this file:
- What is cleared is cleared before anything is set, so that a key cleared and set again in one batch ends as set.
- Effects are planned before the ledger is asked, so that a batch may ask about what it plans.
- The place of an incarnation never changes, so it may be remembered until it is purged, unless the commit that gave it
  fails.
"""

import sqlite3
from collections.abc import Mapping
from typing import Any

import msgspec

from holdfast.adapters.ledger import Refusals, committed
from holdfast.adapters.sqlite.moves import Moves
from holdfast.adapters.sqlite.purge import purge
from holdfast.adapters.sqlite.statements import statement
from holdfast.ports.journal import BadData, Committed, Fenced, RunRow, ShardBatch

NOWHERE = -1

_REMEMBERED = 200_000

_pack = msgspec.msgpack.Encoder().encode

Incarnation = tuple[str, int]
Flat = list[Any]
Rows = tuple[tuple[str, Flat], ...]


class Commits:
    """Writes batches; lives in the writer's thread, where it remembers the places of the runs it wrote lately."""

    def __init__(self, refusals: Refusals, moves: Moves) -> None:
        self._refusals = refusals
        self._moves = moves
        self._places: dict[Incarnation, int] = {}

    def write(self, connection: sqlite3.Connection, batch: Mapping[int, ShardBatch]) -> Committed | Fenced:
        """Write all of `batch` or nothing."""
        asked = [one for part in batch.values() for one in part.asked]
        fence: Flat = []
        for shard, part in batch.items():
            fence += (shard, part.epoch, part.number, part.published)
        connection.execute("BEGIN IMMEDIATE")
        if statement("move_shards").write(connection, fence) != len(batch):
            connection.execute("ROLLBACK")
            return _fenced(connection, batch)
        started = _start(connection, [run for part in batch.values() for run in part.started])
        self._remember(started)
        try:
            for name, values in self._lay_out(connection, batch):
                if values:
                    statement(name).write(connection, values)
            self._moves.plan(connection, [effect for part in batch.values() for effect in part.planned])
            answers = self._moves.move(connection, asked) if asked else []
            purged = [one for part in batch.values() for one in part.purged]
            if purged:
                purge(connection, purged)
                for one in purged:
                    self._places.pop((one.run_id, one.incarnation), None)
            connection.execute("COMMIT")
        except BaseException:
            for run in started:
                self._places.pop(run, None)
            self._moves.forget()
            raise
        self._refusals.note(asked, answers)
        return committed(asked, answers)

    def _lay_out(self, connection: sqlite3.Connection, batch: Mapping[int, ShardBatch]) -> Rows:
        try:
            return _rows(batch, self._places)
        except KeyError:  # some run was not written lately: look it up
            return _rows(batch, self._find(connection, batch))

    def _find(self, connection: sqlite3.Connection, batch: Mapping[int, ShardBatch]) -> dict[Incarnation, int]:
        """Find the places of all runs that the batch speaks of; NOWHERE stands for a run that there is not."""
        places = {run: self._places.get(run, NOWHERE) for run in _incarnations(batch)}
        asked = [part for run, place in places.items() if place == NOWHERE for part in run]
        found = statement("find_places").read(connection, asked)
        read = {(run_id, incarnation): place for run_id, incarnation, place in found}
        self._remember(read)
        places |= read
        for run_id, incarnation in _written(batch):
            if places[run_id, incarnation] == NOWHERE:
                raise BadData(
                    f"run {run_id} (incarnation {incarnation}) was never started: nothing can be written of it"
                )
        return places

    def _remember(self, places: dict[Incarnation, int]) -> None:
        if len(self._places) + len(places) > _REMEMBERED:
            self._places.clear()
        self._places.update(places)


def _start(connection: sqlite3.Connection, started: list[RunRow]) -> dict[Incarnation, int]:
    """Insert new incarnations; their places follow each other, since nobody else writes meanwhile."""
    if not started:
        return {}
    values: Flat = []
    for r in started:
        values += (r.run_id, r.incarnation, r.shard, r.workflow, r.version, r.status, _text(r.attributes))
        values += (r.started_at, r.ended_at, r.parked)
    statement("start_runs").write(connection, values)
    (last,) = connection.execute("SELECT last_insert_rowid()").fetchone()
    first = last - len(started) + 1
    return {(r.run_id, r.incarnation): first + i for i, r in enumerate(started)}


def _written(batch: Mapping[int, ShardBatch]) -> set[Incarnation]:
    """Tell of which runs the batch has rows to write."""
    found: set[Incarnation] = set()
    for part in batch.values():
        found.update([(e.run_id, e.incarnation) for e in part.events])
        found.update([(r.run_id, r.incarnation) for r in part.changed])
        found.update([(a.run_id, a.incarnation) for a in part.attempts_opened])
        found.update([(t.run_id, t.incarnation) for t in part.timers_set])
    return found


def _incarnations(batch: Mapping[int, ShardBatch]) -> set[Incarnation]:
    found = _written(batch)
    for part in batch.values():
        found.update([key[:2] for key in part.attempts_closed])
        found.update([key[:2] for key in part.timers_cleared])
    return found


def _rows(batch: Mapping[int, ShardBatch], places: dict[Incarnation, int]) -> Rows:
    """Lay a batch out as the flat rows of each statement, in the order they run."""
    events: Flat = []
    changed: Flat = []
    closed: Flat = []
    opened: Flat = []
    cleared: Flat = []
    timers: Flat = []
    signals: Flat = []
    taken: Flat = []
    inbox: Flat = []
    outbox: Flat = []
    trimmed = [number for shard, part in batch.items() if part.published for number in (shard, part.published)]
    for shard, part in batch.items():
        if part.spans:
            outbox += (shard, part.number, _pack(part.spans))
        for e in part.events:
            events += (places[e.run_id, e.incarnation], e.seq, e.type, e.data, e.at)
        for r in part.changed:
            place = places[r.run_id, r.incarnation]
            changed += (place, r.version, r.status, _text(r.attributes), r.ended_at, r.parked)
        for run_id, incarnation, step_id in part.attempts_closed:
            closed += (places[run_id, incarnation], step_id)
        for a in part.attempts_opened:
            place = places[a.run_id, a.incarnation]
            opened += (place, a.step_id, a.attempt, a.shard, a.sent_to, a.resend_at, a.resends)
        for run_id, incarnation, timer_id in part.timers_cleared:
            cleared += (places[run_id, incarnation], timer_id)
        for t in part.timers_set:
            timers += (places[t.run_id, t.incarnation], t.timer_id, t.shard, t.due_at)
        for pair in part.signals:
            signals += pair
        for pair in part.inbox_taken:
            taken += pair
        for i in part.inbox_put:
            inbox += (i.run_id, i.message_id, i.shard, i.name, i.data, i.at)
    return (
        ("append_history", events),
        ("change_runs", changed),
        ("close_attempts", closed),
        ("open_attempts", opened),
        ("clear_timers", cleared),
        ("set_timers", timers),
        ("take_signals", signals),
        ("take_from_inbox", taken),
        ("put_into_inbox", inbox),
        ("trim_outbox", trimmed),
        ("put_into_outbox", outbox),
    )


def _text(attributes: dict[str, str]) -> str:
    """Write attributes as JSON text, for whoever opens the file with other tools."""
    return msgspec.json.encode(attributes).decode()


def _fenced(connection: sqlite3.Connection, batch: Mapping[int, ShardBatch]) -> Fenced:
    rows = statement("read_shards").read(connection, list(batch))
    epochs = {shard: epoch for shard, epoch, *_ in rows}
    return Fenced(frozenset(shard for shard, part in batch.items() if epochs.get(shard) != part.epoch))
