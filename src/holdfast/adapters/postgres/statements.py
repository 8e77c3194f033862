"""The SQL of this adapter: read from `sql/` once; names become numbers, as PostgreSQL wants its parameters."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

_NAMED = re.compile(r"^-- (\w+): ", re.MULTILINE)
_COMMENT = re.compile(r"^--.*\n?", re.MULTILINE)
_TEXT = re.compile(r"\{(\w+)\}")
_PARAMETER = re.compile(r"%\((\w+)\)s")


class Statement(msgspec.Struct, frozen=True):
    """SQL with $1, $2, …, and the names that they had."""

    sql: bytes
    names: tuple[str, ...]

    def ordered(self, values: Mapping[str, Any]) -> list[Any]:
        """Put parameters in their order."""
        return [values[name] for name in self.names]


def numbered(text: str) -> Statement:
    """Give each name of `text` a number."""
    names = tuple(dict.fromkeys(_PARAMETER.findall(text)))
    return Statement(_PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", text).encode(), names)


@cache
def statement(name: str) -> Statement:
    """Find a statement of `sql/` by its name."""
    return numbered(_texts()[name])


@cache
def commit_statement(parts: tuple[str, ...]) -> Statement:
    """Put the statement of a commit together from the parts that its batch has rows for."""
    return _whole("fence", *parts, "answer")


@cache
def move_statement(parts: tuple[str, ...]) -> Statement:
    """Put the statement of moves outside a commit together: of `effects`, and of `story` if there are lines."""
    return _whole("alone", *parts, "nothing")


def _whole(*parts: str) -> Statement:
    end = ("counted",) if "effects" in parts else ()
    return numbered("\n".join(_texts()[part] for part in (*parts, *end)))


@cache
def _texts() -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted((Path(__file__).parent / "sql").glob("*.sql")):
        _, *parts = _NAMED.split(path.read_text(encoding="utf-8"))
        found.update((name, _without_comments(text)) for name, text in _pairs(parts))
    return {name: _TEXT.sub(lambda named: found[named[1]], text) for name, text in found.items()}


def _pairs(parts: list[str]) -> Iterable[tuple[str, str]]:
    return zip(parts[::2], parts[1::2], strict=True)


def _without_comments(text: str) -> str:
    """Drop the rest of the header, which begins on the name's own line."""
    return _COMMENT.sub("", "-- " + text).strip().removesuffix(";")
