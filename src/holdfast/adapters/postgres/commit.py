"""One commit: a batch laid out as the columns of one statement.

Laws of this file:
- A row is touched once: what a batch clears and sets again ends as set, what it starts and changes is one new row, and
  so is what it plans and moves.
- A statement bears only the parts that its batch has rows for.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any

import msgspec

from holdfast.adapters.ledger import changed, flat, line
from holdfast.adapters.postgres.arrays import Packed, binaries, flags, numbers, numbers_or_none, texts
from holdfast.adapters.postgres.statements import Statement, commit_statement, move_statement
from holdfast.core.effects import Effect
from holdfast.ports.journal import BadData, RunRow, ShardBatch
from holdfast.ports.judging import Judged

TRIM_EVERY = 16
"""The outbox is trimmed below the cursor with every 16th batch of a shard: one range instead of sixteen."""

Columns = dict[str, tuple[Callable[[Any], Packed], Callable[[Any], Any]]]
Rows = dict[str, list[Any]]

UNASKED = Judged([], [], [])

_encode = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode


def _attributes(row: RunRow) -> str:
    return _encode(row.attributes).decode()


def _fields(**packers: Callable[[Any], Packed]) -> Columns:
    return {name: (packer, attrgetter(name)) for name, packer in packers.items()}


def _places(**packers: Callable[[Any], Packed]) -> Columns:
    return {name: (packer, itemgetter(place)) for place, (name, packer) in enumerate(packers.items())}


_MOVING: dict[str, Callable[[Any], Packed]] = {
    "guard": texts, "terms": binaries, "state": texts, "version": numbers, "fence": numbers, "attempt": numbers,
    "owner": texts, "lease_until": numbers, "sender": texts, "request": binaries, "first_sent_at": numbers_or_none,
    "last_sent_at": numbers_or_none, "asked_at": numbers_or_none, "unclear": flags, "repeats": flags,
    "sender_gone": texts, "result": binaries, "error": binaries, "reason": texts, "resolved_by": texts,
}  # fmt: skip

PARTS: dict[str, Columns] = {
    "fence": _places(shard=numbers, epoch=numbers, number=numbers, published=numbers),
    "history": _fields(run_id=texts, incarnation=numbers, seq=numbers, type=texts, data=binaries, at=numbers),
    "started": _fields(
        run_id=texts, incarnation=numbers, shard=numbers, workflow=texts, version=texts, status=texts,
        started_at=numbers, ended_at=numbers_or_none, parked=texts,
    ) | {"attributes": (texts, _attributes)},
    "changed": _fields(
        run_id=texts, incarnation=numbers, version=texts, status=texts, ended_at=numbers_or_none, parked=texts,
    ) | {"attributes": (texts, _attributes)},
    "closed": _places(run_id=texts, incarnation=numbers, step_id=texts),
    "opened": _fields(
        run_id=texts, incarnation=numbers, step_id=texts, attempt=numbers, shard=numbers, sent_to=texts,
        resend_at=numbers, resends=numbers,
    ),
    "cleared": _places(run_id=texts, incarnation=numbers, timer_id=texts),
    "set": _fields(run_id=texts, incarnation=numbers, timer_id=texts, shard=numbers, due_at=numbers),
    "signals": _places(run_id=texts, message_id=texts),
    "taken": _places(run_id=texts, message_id=texts),
    "put": _fields(run_id=texts, message_id=texts, shard=numbers, name=texts, data=binaries, at=numbers),
    "outbox": _places(shard=numbers, number=numbers, spans=binaries),
    "trimmed": _places(shard=numbers, published=numbers),
    "planned": _places(
        effect_id=texts, run_id=texts, incarnation=numbers, step_id=texts, shard=numbers, name=texts, key=texts,
        request_hash=binaries, planned_at=numbers, **_MOVING,
    ),
    "effects": _places(effect_id=texts, was_state=texts, was_fence=numbers, **_MOVING),
    "purged": _fields(run_id=texts, incarnation=numbers, input_hash=binaries, ended_at=numbers),
    "story": _places(
        effect_id=texts, version=numbers, at=numbers, what=texts, who=texts, was=texts, to=texts, move=binaries,
    ),
}  # fmt: skip


def laid_out(batch: Mapping[int, ShardBatch], judged: Judged = UNASKED) -> tuple[Statement, dict[str, Packed]]:
    """Give the statement of a batch and its parameters.

    Raises:
        BadData: a run is started twice, or an effect planned twice.
    """
    present, values = _columns(collapsed(batch) | moved(batch, judged))
    return commit_statement(present[1:]), values


def moves_laid_out(judged: Judged) -> tuple[Statement, dict[str, Packed]]:
    """Give the statement of moves outside a commit, and its parameters."""
    present, values = _columns(moved({}, judged))
    return move_statement(present), values


def _columns(rows: Rows) -> tuple[tuple[str, ...], dict[str, Packed]]:
    present = tuple(part for part in PARTS if rows.get(part))
    values = {
        f"{part}_{column}": packer(list(map(read, rows[part])))
        for part in present
        for column, (packer, read) in PARTS[part].items()
    }
    return present, values


def moved(batch: Mapping[int, ShardBatch], judged: Judged) -> Rows:
    """Give the ledger's rows: what is planned and moved in one batch is inserted as it ends."""
    planned: dict[str, Effect] = {}
    for part in batch.values():
        for effect in part.planned:
            if effect.effect_id in planned:
                raise BadData(f"effect {effect.effect_id} is planned twice in one batch")
            planned[effect.effect_id] = effect
    changes = []
    for change in judged.changes:
        if change.now.effect_id in planned:
            planned[change.now.effect_id] = change.now
        else:
            changes.append(change)
    return {
        "planned": list(map(flat, planned.values())),
        "effects": list(map(changed, changes)),
        "story": list(map(line, judged.story)),
    }


def collapsed(batch: Mapping[int, ShardBatch]) -> Rows:
    """Give the rows of each part of the statement, none of them touched by two."""
    parts = batch.values()
    started, changed = runs_of(parts)
    opened = {(row.run_id, row.incarnation, row.step_id): row for part in parts for row in part.attempts_opened}
    timers = {(row.run_id, row.incarnation, row.timer_id): row for part in parts for row in part.timers_set}
    put = list(chain.from_iterable(part.inbox_put for part in parts))
    kept = {(row.run_id, row.message_id) for row in put}
    return {
        "fence": [(shard, part.epoch, part.number, part.published) for shard, part in batch.items()],
        "history": list(chain.from_iterable(part.events for part in parts)),
        "started": started,
        "changed": changed,
        "closed": [key for part in parts for key in part.attempts_closed if key not in opened],
        "opened": list(opened.values()),
        "cleared": [key for part in parts for key in part.timers_cleared if key not in timers],
        "set": list(timers.values()),
        "signals": list(chain.from_iterable(part.signals for part in parts)),
        "taken": [key for part in parts for key in part.inbox_taken if key not in kept],
        "put": put,
        "outbox": [(shard, part.number, _pack(part.spans)) for shard, part in batch.items() if part.spans],
        "purged": list({one.run_id: one for part in parts for one in part.purged}.values()),
        "trimmed": [(shard, part.published) for shard, part in batch.items() if not part.number % TRIM_EVERY],
    }


def runs_of(parts: Iterable[ShardBatch]) -> tuple[list[RunRow], list[RunRow]]:
    """Give the runs to insert and those to update: a run started and changed in one batch is inserted as it ends."""
    started: dict[str, RunRow] = {}
    changed: dict[tuple[str, int], RunRow] = {}
    for part in parts:
        for row in part.started:
            earlier = started.get(row.run_id)
            if earlier is not None and earlier.incarnation >= row.incarnation:
                raise BadData(f"run {row.run_id} is started twice in one batch")
            started[row.run_id] = row
        for row in part.changed:
            new = started.get(row.run_id)
            if new is None:
                changed[row.run_id, row.incarnation] = row
            elif new.incarnation == row.incarnation:
                started[row.run_id] = msgspec.structs.replace(
                    new, version=row.version, status=row.status, attributes=row.attributes,
                    ended_at=row.ended_at, parked=row.parked,
                )  # fmt: skip
    return list(started.values()), list(changed.values())
