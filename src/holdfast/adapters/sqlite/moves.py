"""Planning effects and moving them, inside a transaction of the file's only writer.

Law: rows are read, decided on and written in one transaction, so that a row is still what was decided on.
"""

import sqlite3
from collections.abc import Sequence
from itertools import chain

from holdfast.adapters.ledger import changed, effect_of, flat, line
from holdfast.adapters.sqlite.clock import now
from holdfast.adapters.sqlite.statements import statement
from holdfast.core.asks import Ask
from holdfast.core.effects import Effect
from holdfast.ports.judging import Judged, judge
from holdfast.ports.ledger import Answer
from holdfast.ports.store import BadData


def plan(connection: sqlite3.Connection, effects: Sequence[Effect]) -> None:
    """Insert new rows."""
    if effects:
        statement("plan_effects").write(connection, list(chain.from_iterable(map(flat, effects))))


def move(connection: sqlite3.Connection, asks: Sequence[tuple[str, Ask]]) -> list[Answer]:
    """Decide what is asked, and write what follows."""
    wanted = list(dict.fromkeys(effect_id for effect_id, _ in asks))
    rows = statement("read_effects").read(connection, wanted)
    places = {row[0]: row[-1] for row in rows}
    judged = judge({row[0]: effect_of(row[:-1]) for row in rows}, asks, now())
    _write(connection, judged, places)
    return judged.answers


def _write(connection: sqlite3.Connection, judged: Judged, places: dict[str, int]) -> None:
    rows = [(places[effect_id], *rest) for effect_id, *rest in map(changed, judged.changes)]
    touched = statement("change_effects").write(connection, list(chain.from_iterable(rows)))
    if touched != len(rows):
        raise BadData(f"only {touched} of {len(rows)} effects are still what was decided on: nothing was written")
    lines = ((places[told.effect_id], *line(told)[1:]) for told in judged.story)
    statement("tell_moves").write(connection, list(chain.from_iterable(lines)))
