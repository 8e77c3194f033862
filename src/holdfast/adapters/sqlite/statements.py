"""The SQL of this adapter: read from `sql/` once, widened to many rows where a statement allows it.

Law: many rows go in one statement. Every step of SQLite releases Python's lock, and a busy event loop gives it back
late; so a batch must be few steps, not many quick ones.
"""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

_NAMED = re.compile(r"^-- (\w+): ", re.MULTILINE)
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)
_TEXT = re.compile(r"\{(\w+)\}")
_MORE = re.compile(r"(\?|\([^()]*\?[^()]*\)) /\* (more|or) \*/")

_MOST_ROWS = 128
_READ_SIZES = (1, 8, 64, 256, 1024)


class Statement:
    """One named statement; `width` is the number of parameters that one more row takes."""

    def __init__(self, text: str) -> None:
        self.text = _MORE.sub(r"\1", text)
        row = _MORE.search(text)
        self.width = row.group(1).count("?") if row else 0
        self._parts = (text[: row.start()], row.group(1), text[row.end() :]) if row else (text, "", "")
        self._between = " OR " if row and row.group(2) == "or" else ", "
        self._wide: dict[int, str] = {1: self.text}

    def wide(self, rows: int) -> str:
        """Give the statement with room for `rows` rows."""
        text = self._wide.get(rows)
        if text is None:
            head, row, tail = self._parts
            text = self._wide[rows] = head + self._between.join([row] * rows) + tail
        return text

    def write(self, connection: sqlite3.Connection, values: Sequence[Any]) -> int:
        """Run it over all rows of `values` (one row after the other, flat); returns how many rows it touched.

        Row counts are powers of two, so that few statements are ever prepared.
        """
        touched = done = 0
        left = len(values) // self.width
        while left:
            rows = min(1 << left.bit_length() - 1, _MOST_ROWS)
            end = done + rows * self.width
            touched += connection.execute(self.wide(rows), values[done:end]).rowcount
            done = end
            left -= rows
        return touched

    def all(self, connection: sqlite3.Connection, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        """Run it as it stands; returns all its rows."""
        return connection.execute(self.text, values).fetchall()

    def read(
        self,
        connection: sqlite3.Connection,
        values: Sequence[Any],
        before: Sequence[Any] = (),
        after: Sequence[Any] = (),
    ) -> list[Any]:
        """Ask about all of `values` (flat), between the parameters `before` and `after` them.

        The last row is repeated up to the next usual size; over the largest size it is asked in pieces.
        """
        found: list[Any] = []
        step = _READ_SIZES[-1] * self.width
        for start in range(0, len(values), step):
            piece = list(values[start : start + step])
            rows = len(piece) // self.width
            size = next(size for size in _READ_SIZES if size >= rows)
            piece += piece[-self.width :] * (size - rows)
            found += connection.execute(self.wide(size), [*before, *piece, *after]).fetchall()
        return found


@cache
def statement(name: str) -> Statement:
    """Find a statement of `sql/` by its name."""
    return _all()[name]


@cache
def change_effects(columns: tuple[str, ...]) -> Statement:
    """Give the statement that writes these columns of effects; its rows begin with place, state and fence."""
    changes = ", ".join(f"{name} = v.column{number}" for number, name in enumerate(columns, 4))
    text = _texts()["change_effects"].replace("/* set */", changes).replace("/* new */", ", ?" * len(columns))
    return Statement(text)


@cache
def _all() -> dict[str, Statement]:
    texts = _texts()
    return {name: Statement(_TEXT.sub(lambda found: texts[found[1]], text)) for name, text in texts.items()}


@cache
def _texts() -> dict[str, str]:
    texts: dict[str, str] = {}
    for path in sorted((Path(__file__).parent / "sql").glob("*.sql")):
        _, *parts = _NAMED.split(path.read_text())
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            # What follows the name on its line is the rest of the header.
            texts[name] = _COMMENT.sub("", "-- " + text).strip().removesuffix(";")
    return texts
