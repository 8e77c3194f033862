"""Planning effects and moving them, inside a transaction of the file's only writer.

Laws of this file:
- Rows are read, decided on and written in one transaction, so that a row is still what was decided on.
- A row that this connection wrote is not read again while SQLite says that nobody else has committed to the file since
  (`data_version`), and no transaction of ours has failed: it still stands as it was written.
- A change writes the columns that moves changed, and no others.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain

from holdfast.adapters.ledger import difference, effect_of, fixed, line, terms_of
from holdfast.adapters.sqlite.clock import now
from holdfast.adapters.sqlite.statements import change_effects, statement
from holdfast.core.asks import Ask
from holdfast.core.effects import Effect
from holdfast.ports.journal import BadData
from holdfast.ports.judging import Change, Judged, judge
from holdfast.ports.ledger import Answer

_REMEMBERED = 10_000

Row = tuple[int, Effect]
"""An effect with its place."""


class Moves:
    """Moves effects; lives in the writer's thread, where it remembers the unsettled rows that it wrote lately."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._connection: sqlite3.Connection | None = None
        self._version = 0

    def forget(self) -> None:
        """Remember nothing: a transaction has failed, and what was written in it does not stand."""
        self._rows.clear()

    def ask(self, connection: sqlite3.Connection, asks: Sequence[tuple[str, Ask]]) -> list[Answer]:
        """Decide what is asked, and write what follows, in a transaction of its own."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            answers = self.move(connection, asks)
            connection.execute("COMMIT")
        except BaseException:
            self.forget()
            raise
        return answers

    def plan(self, connection: sqlite3.Connection, effects: Sequence[Effect]) -> None:
        """Insert new rows; their places follow each other, since nobody else writes meanwhile."""
        if not effects:
            return
        self._look_round(connection)
        rows = ((*fixed(effect), *terms_of(effect)) for effect in effects)
        statement("plan_effects").write(connection, list(chain.from_iterable(rows)))
        (last,) = connection.execute("SELECT last_insert_rowid()").fetchone()
        self._remember(zip(range(last - len(effects) + 1, last + 1), effects, strict=True))

    def move(self, connection: sqlite3.Connection, asks: Sequence[tuple[str, Ask]]) -> list[Answer]:
        """Decide what is asked, and write what follows."""
        self._look_round(connection)
        rows = self._read(connection, {effect_id for effect_id, _ in asks})
        judged = judge({effect_id: effect for effect_id, (_, effect) in rows.items()}, asks, now())
        _write(connection, judged, rows)
        self._remember((rows[change.now.effect_id][0], change.now) for change in judged.changes)
        return judged.answers

    def _read(self, connection: sqlite3.Connection, wanted: set[str]) -> dict[str, Row]:
        rows = {effect_id: row for effect_id in wanted if (row := self._rows.get(effect_id)) is not None}
        if len(rows) < len(wanted):
            found = statement("read_effects").read(connection, [each for each in wanted if each not in rows])
            rows.update((row[0], (row[-1], effect_of(row[:-1]))) for row in found)
        return rows

    def _look_round(self, connection: sqlite3.Connection) -> None:
        """Forget what somebody else may have changed; called where the transaction has the file to itself already."""
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if version != self._version or connection is not self._connection:
            self.forget()
            self._version, self._connection = version, connection

    def _remember(self, rows: Iterable[Row]) -> None:
        if len(self._rows) > _REMEMBERED:
            self.forget()
        for place, effect in rows:
            if effect.settled:
                self._rows.pop(effect.effect_id, None)
            else:
                self._rows[effect.effect_id] = (place, effect)


def _write(connection: sqlite3.Connection, judged: Judged, rows: dict[str, Row]) -> None:
    changes = [change for change in judged.changes if change.now != change.was]
    laid_out = _laid_out(changes, rows)
    touched = sum(change_effects(columns).write(connection, values) for columns, values in laid_out.items())
    if touched != len(changes):
        raise BadData(f"only {touched} of {len(changes)} effects are still what was decided on: nothing was written")
    lines = ((rows[told.effect_id][0], *line(told)[1:]) for told in judged.story)
    statement("tell_moves").write(connection, list(chain.from_iterable(lines)))


def _laid_out(changes: Sequence[Change], rows: dict[str, Row]) -> dict[tuple[str, ...], list[object]]:
    """Give the flat rows of each statement, by the columns that it writes."""
    found: dict[tuple[str, ...], list[object]] = {}
    for change in changes:
        columns, values = difference(change)
        was = change.was
        found.setdefault(columns, []).extend((rows[was.effect_id][0], was.state, was.fence, *values))
    return found
