"""What the ledgers of all stores share: a row as flat values, a move as bytes, and the count of what was refused.

Laws of this file:
- The columns are the fields of `Effect`, in their order, and the guard beside the terms, for whoever looks by hand.
- What nobody asks for by value is MessagePack: terms, a result, an error, a whole move.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import compress
from operator import is_not
from typing import Any

import msgspec
from msgspec.structs import astuple

from holdfast.core.asks import Ask, Move, Terms
from holdfast.core.effects import IN_DOUBT, PARKED, Effect
from holdfast.core.payload import Payload
from holdfast.core.retry import Failure
from holdfast.ports.journal import Committed
from holdfast.ports.judging import Change
from holdfast.ports.ledger import Answer, Story

log = logging.getLogger(__name__)

COMMITTED = Committed()
WAITING = frozenset({IN_DOUBT, PARKED})
"""States whose effects are found by an index of their own, however many are settled."""

Flat = tuple[Any, ...]

_FIELDS = Effect.__struct_fields__
_PACKED = frozenset({"terms", "result", "error"})

_pack = msgspec.msgpack.Encoder().encode
_terms = msgspec.msgpack.Decoder(Terms).decode
_result = msgspec.msgpack.Decoder(Payload).decode
_error = msgspec.msgpack.Decoder(Failure).decode
_move = msgspec.msgpack.Decoder(Move).decode


def flat(e: Effect) -> Flat:
    """Lay a row out: `fixed`, then `moving`."""
    return (*fixed(e), *moving(e, e.request))


def fixed(e: Effect) -> Flat:
    """Give what a plan says and no move changes."""
    return (
        e.effect_id, e.run_id, e.incarnation, e.step_id, e.shard, e.name, e.key, e.request_hash, e.planned_at,
    )  # fmt: skip


def changed(change: Change) -> Flat:
    """Lay a change out: the effect, state and fence as they were, and what moves; None for a request that stays."""
    was, now = change.was, change.now
    request = None if now.request == was.request else now.request
    return (now.effect_id, was.state, was.fence, *moving(now, request))


def terms_of(e: Effect) -> Flat:
    """Give the columns of an effect's terms: `guard`, `terms`."""
    return (e.terms.guard, _pack(e.terms))


def difference(change: Change) -> tuple[tuple[str, ...], list[Any]]:
    """Give the columns that moves changed, and what they are to hold; some may hold it already."""
    now = astuple(change.now)
    differs = list(map(is_not, astuple(change.was), now))
    columns, packed = _columns(tuple(compress(_FIELDS, differs)))
    values = list(compress(now, differs))
    for place in packed:
        values[place] = None if values[place] is None else _pack(values[place])
    if len(columns) > len(values):
        values.append(change.now.terms.guard)
    return columns, values


@cache
def _columns(fields: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Give the columns of some fields, and the places of those that are packed. Terms bring their guard's column."""
    guard = ("guard",) if "terms" in fields else ()
    return fields + guard, tuple(place for place, name in enumerate(fields) if name in _PACKED)


def moving(e: Effect, request: bytes | None) -> Flat:
    """Give what moves change."""
    return (
        e.terms.guard, _pack(e.terms), e.state, e.version, e.fence, e.attempt, e.owner, e.lease_until, e.sender,
        request, e.first_sent_at, e.last_sent_at, e.asked_at, e.unclear, e.repeats, e.sender_gone,
        None if e.result is None else _pack(e.result), None if e.error is None else _pack(e.error),
        e.reason, e.resolved_by,
    )  # fmt: skip


def effect_of(row: Sequence[Any]) -> Effect:
    """Read a row that was laid out by `flat`."""
    (
        effect_id, run_id, incarnation, step_id, shard, name, key, request_hash, planned_at,
        _, terms, state, version, fence, attempt, owner, lease_until, sender,
        request, first_sent_at, last_sent_at, asked_at, unclear, repeats, sender_gone,
        result, error, reason, resolved_by,
    ) = row  # fmt: skip
    return Effect(
        effect_id=effect_id,
        run_id=run_id,
        incarnation=incarnation,
        step_id=step_id,
        shard=shard,
        name=name,
        key=key,
        request_hash=request_hash,
        terms=_terms(terms),
        planned_at=planned_at,
        state=state,
        version=version,
        fence=fence,
        attempt=attempt,
        owner=owner,
        lease_until=lease_until,
        sender=sender,
        request=request,
        first_sent_at=first_sent_at,
        last_sent_at=last_sent_at,
        asked_at=asked_at,
        unclear=bool(unclear),
        repeats=bool(repeats),
        sender_gone=sender_gone,
        result=None if result is None else _result(result),
        error=None if error is None else _error(error),
        reason=reason,
        resolved_by=resolved_by,
    )


def line(move: Move) -> Flat:
    """Lay a move out: what is looked for by hand, and all of it."""
    return (move.effect_id, move.version, move.at, move.what, move.who, move.was, move.to, _pack(move))


def stories(effects: Sequence[Sequence[Any]], lines: Sequence[tuple[str, bytes]]) -> list[Story]:
    """Put effects and their moves (effect id, all of the move) together; both are in order."""
    told: dict[str, list[Move]] = {row[0]: [] for row in effects}
    for effect_id, data in lines:
        told[effect_id].append(_move(data))
    return [Story(effect_of(row), tuple(told[row[0]])) for row in effects]


def committed(asks: Sequence[tuple[str, Ask]], answers: Sequence[Answer]) -> Committed:
    """Say that a batch is durable, and what the ledger answered."""
    if not asks:
        return COMMITTED
    return Committed({effect_id: answer for (effect_id, _), answer in zip(asks, answers, strict=True)})


class Refusals:
    """Counts refused moves by their reason, and says so in the log. A duplicate of what is settled is no refusal."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def note(self, asks: Sequence[tuple[str, Ask]], answers: Sequence[Answer]) -> None:
        """Look at answers that were given."""
        for (effect_id, ask), answer in zip(asks, answers, strict=True):
            if answer.unmoved in {"", "settled"}:
                continue
            self.counts[answer.unmoved] += 1
            what = type(ask).__name__.lower()
            log.info("effect %s refuses to move: %s of %s (%s)", effect_id, what, ask.who, answer.unmoved)
