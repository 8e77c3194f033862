"""What carries the values of one annotation: a tree of nodes, one for each part of it.

Laws of this file:
- `dump` checks a value against the annotation and gives what msgspec writes; `load` makes the value again.
- `dump` gives the value itself where msgspec writes it as it is meant, so that most values are written without a copy.
- A misfit names the place in the value; what cannot be carried at all is refused when the annotation is read.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

NULL, BOOL, INT, FLOAT, STR, ARRAY, OBJECT = "null", "bool", "int", "float", "str", "array", "object"
ANYTHING = frozenset({NULL, BOOL, INT, FLOAT, STR, ARRAY, OBJECT})
_WIRE: dict[type, str] = {type(None): NULL, bool: BOOL, int: INT, float: FLOAT, str: STR, list: ARRAY, dict: OBJECT}


class Unsupported(TypeError):
    """An annotation that cannot be carried: why, and what to write instead."""


class Misfit(ValueError):
    """A value that is not of its annotation, or cannot travel; `path` leads to it."""

    def __init__(self, text: str, path: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.path = path

    def at(self, place: str) -> "Misfit":
        """Tell the way to it, one part more from the outside."""
        return Misfit(self.text, place + self.path)

    def __str__(self) -> str:
        return f"{self.text} - at `${self.path}`" if self.path else self.text


class Node:
    """Carries the values of one annotation.

    `kind` is the annotation as msgspec decodes it by itself; None where it does not. `types` are the classes of its
    values, `wire` the kinds of JSON that they travel as, `exact` the class whose values need no look at all.
    """

    __slots__ = ("exact", "kind", "name", "types", "wire")

    def __init__(
        self,
        name: str,
        *,
        types: Sequence[type],
        wire: frozenset[str],
        kind: Any = None,
        exact: type | None = None,
    ) -> None:
        self.name = name
        self.types: Any = tuple(types)
        self.wire = wire
        self.kind = kind
        self.exact = exact

    def dump(self, value: Any) -> Any:
        """Give what msgspec is to write.

        Raises:
            Misfit: the value is not of the annotation.
        """
        raise NotImplementedError

    def load(self, plain: Any) -> Any:
        """Make the value from what JSON tells.

        Raises:
            Misfit: it does not fit.
        """
        if self.kind is None:
            raise NotImplementedError
        try:
            return msgspec.convert(plain, self.kind, str_keys=True)
        except msgspec.ValidationError as error:
            raise misfit_of(error) from error

    def misfit(self, value: object) -> Misfit:
        return Misfit(f"{called(type(value))} where {self.name} is annotated")

    def refused(self, plain: object, expected: str) -> Misfit:
        return Misfit(f"Expected `{expected}`, got `{wire_of(plain)}`")


def misfit_of(error: Exception) -> Misfit:
    """Take over what msgspec says, with its place."""
    text, _, place = str(error).partition(" - at `$")
    return Misfit(text, place.rstrip("`"))


def wire_of(plain: object) -> str:
    """Tell which kind of JSON a decoded value was."""
    return _WIRE.get(type(plain), OBJECT)


def called(kind: type) -> str:
    """Name a class as its author does."""
    return "None" if kind is type(None) else kind.__qualname__.rpartition("<locals>.")[2]


def each(dump: Callable[[Any], Any], values: Any) -> list[Any]:
    """Dump or load each of some values; a misfit names its number."""
    done: list[Any] = []
    try:
        for value in values:
            done.append(dump(value))  # noqa: PERF401 - how many are done is the place of what is not
    except Misfit as misfit:
        raise misfit.at(f"[{len(done)}]") from None
    return done


def at_place(do: Callable[[Any], Any], value: Any, place: str) -> Any:
    """Dump or load one part of a value; a misfit names its place."""
    try:
        return do(value)
    except Misfit as misfit:
        raise misfit.at(place) from None
