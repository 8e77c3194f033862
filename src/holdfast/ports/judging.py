"""What every ledger does with what it is asked: `core/effects.py`, over the rows as they stand.

Laws of this file:
- Asks about one effect are decided one after the other, each against the row that the last one left.
- A renewal changes the row and is no line of the story.
"""

from collections.abc import Mapping, Sequence

import msgspec

from holdfast.core.asks import Ask, Move, Renew, Unmoved
from holdfast.core.effects import Effect, decide, evolve
from holdfast.ports.ledger import Answer

UNKNOWN = "unknown"


class Change(msgspec.Struct, frozen=True):
    """A row as it was read, and as it is to stand now."""

    was: Effect
    now: Effect


class Judged(msgspec.Struct, frozen=True):
    """What is to be written, one change a row, and what is to be said, one answer an ask."""

    changes: list[Change]
    story: list[Move]
    answers: list[Answer]


def judge(rows: Mapping[str, Effect], asks: Sequence[tuple[str, Ask]], now: int) -> Judged:
    """Decide all `asks` at the store's time `now`."""
    standing = dict(rows)
    moved: dict[str, None] = {}  # keeps the order
    story: list[Move] = []
    answers: list[Answer] = []
    for effect_id, ask in asks:
        effect = standing.get(effect_id)
        if effect is None:
            answers.append(Answer(None, now, UNKNOWN))
            continue
        move = decide(effect, ask, now)
        if isinstance(move, Unmoved):
            answers.append(Answer(effect, now, move.reason))
            continue
        standing[effect_id] = effect = evolve(effect, move)
        moved[effect_id] = None
        answers.append(Answer(effect, now))
        if not isinstance(ask, Renew):
            story.append(move)
    return Judged([Change(rows[effect_id], standing[effect_id]) for effect_id in moved], story, answers)
