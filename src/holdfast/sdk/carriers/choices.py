"""Values that are chosen from a few: enums, flags, literals.

Law: an enum whose values are all texts or all integers travels as its value, any other by the name of its member.
"""

import enum
from typing import Any, Final, Literal

from holdfast.sdk.carriers.node import INT, STR, Misfit, Node, called, wire_of

_PLAIN: Final = frozenset({str, int, type(None)})


class Member(Node):
    """A member of an enum, as msgspec carries it: by its value."""

    __slots__ = ()

    def dump(self, value: Any) -> Any:
        if isinstance(value, self.types):
            return value
        raise self.misfit(value)


class Named(Node):
    """A member of an enum, by its name."""

    __slots__ = ("_enum",)

    def __init__(self, kind: type[enum.Enum]) -> None:
        super().__init__(called(kind), types=(kind,), wire=frozenset({STR}))
        self._enum = kind

    def dump(self, value: Any) -> Any:
        if isinstance(value, self._enum):
            return value.name
        raise self.misfit(value)

    def load(self, plain: Any) -> Any:
        if not isinstance(plain, str) or plain not in self._enum.__members__:
            raise Misfit(f"{plain!r} is none of {', '.join(self._enum.__members__)}")
        return self._enum[plain]


class Flags(Node):
    """A set of flags, as an integer."""

    __slots__ = ("_flag",)

    def __init__(self, kind: type[enum.Flag]) -> None:
        super().__init__(called(kind), types=(kind,), wire=frozenset({INT}))
        self._flag = kind

    def dump(self, value: Any) -> Any:
        if isinstance(value, self._flag):
            return int(value.value)
        raise self.misfit(value)

    def load(self, plain: Any) -> Any:
        if type(plain) is not int:
            raise self.refused(plain, "int")
        try:
            return self._flag(plain)
        except ValueError as error:
            raise Misfit(str(error)) from error


def of_enum(kind: type[enum.Enum]) -> Node:
    if issubclass(kind, enum.Flag):
        return Flags(kind)
    values = {type(member.value) for member in kind}
    if values == {str} or (values == {int} and all(-(2**63) <= member.value < 2**63 for member in kind)):
        return Member(called(kind), types=(kind,), wire=frozenset({STR if values == {str} else INT}), kind=kind)
    return Named(kind)


class Choice(Node):
    """One of some literal values."""

    __slots__ = ("_by_plain", "_values", "values")

    def __init__(self, values: tuple[Any, ...]) -> None:
        plain = {type(value) for value in values} <= _PLAIN
        self.values = values
        self._values: dict[Any, Any] = {}
        self._by_plain: dict[Any, Any] = {}
        for value in values:
            written = of_enum(type(value)).dump(value) if isinstance(value, enum.Enum) else value
            if isinstance(written, enum.Enum):
                written = written.value
            self._values[type(value), value] = written
            self._by_plain[type(written), written] = value
        super().__init__(
            f"Literal[{', '.join(map(repr, values))}]",
            types=tuple({type(value): None for value in values}),
            wire=frozenset(wire_of(written) for written in self._values.values()),
            kind=Literal[values] if plain else None,
        )

    @property
    def ambiguous(self) -> bool:
        """Tell whether two of the values travel as one."""
        return len(self._by_plain) < len(self._values)

    def dump(self, value: Any) -> Any:
        try:
            return self._values[type(value), value]
        except (KeyError, TypeError):
            raise Misfit(f"{value!r} is not one of {self.name}") from None

    def load(self, plain: Any) -> Any:
        try:
            return self._by_plain[type(plain), plain]
        except (KeyError, TypeError):
            raise Misfit(f"{plain!r} is not one of {self.name}") from None
