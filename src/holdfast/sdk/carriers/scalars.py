"""Values of one piece: numbers, texts, bytes, times, identifiers, paths, addresses.

Laws of this file:
- JSON has no NaN and no infinity: a float that is none of its numbers is refused, wherever it stands.
- A subclass of a scalar travels as the scalar, and comes back as what the annotation says: equal, of the plain type.
"""

import datetime as dt
import decimal
import ipaddress
import math
import pathlib
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any, Final, LiteralString

import msgspec

from holdfast.sdk.carriers.node import ANYTHING, BOOL, FLOAT, INT, NULL, STR, Misfit, Node, called

NOT_FINITE = "is not carried: JSON has no such number; carry None, or a text"
_SELF_EVIDENT = frozenset({str, int, bool, type(None)})


class Scalar(Node):
    """What msgspec writes and reads as it is meant."""

    __slots__ = ()

    def dump(self, value: Any) -> Any:
        if isinstance(value, self.types):
            return value if type(value) in self.types else _plain(value, self.types[0])
        raise self.misfit(value)


def _plain(value: Any, kind: type) -> Any:
    """Make what a subclass stands for: msgspec writes the class itself alone."""
    make = _PLAIN.get(kind)
    return value if make is None else make(value)


_PLAIN: Final[dict[type, Callable[[Any], Any]]] = {
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    bytearray: lambda value: bytearray(memoryview(value)),
    decimal.Decimal: decimal.Decimal,
    dt.date: lambda value: dt.date(value.year, value.month, value.day),
    dt.datetime: lambda value: dt.datetime(
        value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond, value.tzinfo
    ).replace(fold=value.fold),
    dt.time: lambda value: dt.time(
        value.hour, value.minute, value.second, value.microsecond, value.tzinfo, fold=value.fold
    ),
    dt.timedelta: lambda value: dt.timedelta(value.days, value.seconds, value.microseconds),
}


class Text(Node):
    __slots__ = ()

    def dump(self, value: Any) -> Any:
        if type(value) is str:
            return value
        if isinstance(value, str):
            return str.__str__(value)
        raise self.misfit(value)


class Integer(Node):
    __slots__ = ()

    def dump(self, value: Any) -> Any:
        if type(value) is int:
            return value
        if isinstance(value, int):
            return int.__int__(value)  # True is 1
        raise self.misfit(value)


class Real(Node):
    """A float; an int stands for one if it is the same number."""

    __slots__ = ()

    def dump(self, value: Any) -> Any:
        if type(value) is float and math.isfinite(value):
            return value
        if isinstance(value, float):
            return finite(value)
        if isinstance(value, int):
            if float(value) != value:
                raise Misfit(f"{value} is no float: it would come back as {float(value):.0f}")
            return int.__int__(value)
        raise self.misfit(value)


def finite(value: float) -> float:
    if math.isfinite(value):
        return value if type(value) is float else float.__float__(value)
    raise Misfit(f"{value!r} {NOT_FINITE}")


class Moment(Node):
    """A datetime or a time of day; its offset from UTC travels in minutes, the name of its zone does not."""

    __slots__ = ()

    def dump(self, value: Any) -> Any:
        if not isinstance(value, self.types):
            raise self.misfit(value)
        if value.tzinfo is not None and value.tzinfo is not dt.UTC:
            offset = value.utcoffset()
            if offset is None and isinstance(value, dt.time):
                raise Misfit("a time of day whose offset depends on the date is not carried: carry a datetime")
            if offset is not None and offset % dt.timedelta(minutes=1):
                raise Misfit(f"an offset of {offset} from UTC is not carried: it has seconds; use astimezone(UTC)")
        return value if type(value) in self.types else _plain(value, self.types[0])


class Day(Scalar):
    __slots__ = ()

    def dump(self, value: Any) -> Any:
        if isinstance(value, dt.datetime):
            raise Misfit("datetime where date is annotated")
        return super().dump(value)


class Written(Node):
    """What travels as a text: a path, an address, a time zone."""

    __slots__ = ("_read", "_write")

    def __init__(self, kind: type, write: Callable[[Any], str] = str, read: Callable[[str], Any] | None = None) -> None:
        types = (type(kind()),) if issubclass(kind, pathlib.PurePath) else (kind,)
        super().__init__(called(kind), types=types, wire=frozenset({STR}))
        self._write = write
        self._read = read or kind

    def dump(self, value: Any) -> Any:
        if type(value) in self.types or (isinstance(value, pathlib.PurePath) and isinstance(value, self.types)):
            return self._write(value)
        raise self.misfit(value)

    def load(self, plain: Any) -> Any:
        if not isinstance(plain, str):
            raise self.refused(plain, "str")
        try:
            return self._read(plain)
        except (ValueError, LookupError, OSError) as error:
            raise Misfit(f"{plain!r} is no {self.name}: {error}") from error


class Sub(Node):
    """A class of the author's over str, int, float or bytes."""

    __slots__ = ("_base", "_kind")

    def __init__(self, kind: Any, base: type, inner: Node) -> None:
        super().__init__(called(kind), types=(kind,), wire=inner.wire)
        self._kind = kind
        self._base = base

    def dump(self, value: Any) -> Any:
        if type(value) is not self._kind:
            raise self.misfit(value)
        plain: Any = self._base.__new__(self._base, value)
        return finite(plain) if isinstance(plain, float) else plain

    def load(self, plain: Any) -> Any:
        try:
            return self._kind(msgspec.convert(plain, self._base))
        except msgspec.ValidationError as error:
            raise Misfit(str(error)) from error


class Free(Node):
    """No annotation, or Any: what JSON itself tells apart. A tuple comes back as a list."""

    __slots__ = ()

    def dump(self, value: Any) -> Any:
        kind = type(value)
        if kind in _SELF_EVIDENT:
            return value
        if isinstance(value, dict):
            return self._object(value)
        if isinstance(value, (list, tuple)):
            if kind is list:
                for part in value:
                    if type(part) not in _SELF_EVIDENT:
                        break
                else:
                    return value
            return self._array(value)
        if isinstance(value, float):
            return finite(value)
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, int):
            return int.__int__(value)
        raise Misfit(f"{called(kind)} where no annotation says so: it would come back as something else; annotate it")

    def _array(self, values: Any) -> list[Any]:
        out = []
        for number, value in enumerate(values):
            try:
                out.append(self.dump(value))
            except Misfit as misfit:
                raise misfit.at(f"[{number}]") from None
        return out

    def _object(self, values: Any) -> Any:
        out = {}
        for key, value in values.items():
            if not isinstance(key, str):
                raise Misfit(f"a key of {called(type(key))} would come back as a str: annotate the dict")
            try:
                out[str.__str__(key)] = self.dump(value)
            except Misfit as misfit:
                raise misfit.at(f".{key}") from None
        return out


def _zone_name(zone: Any) -> str:
    if not zone.key:
        raise Misfit("a ZoneInfo without a key is not carried")
    return str(zone.key)


NOTHING: Final = Scalar("None", types=(type(None),), wire=frozenset({NULL}), kind=type(None), exact=type(None))
TEXT: Final = Text("str", types=(str,), wire=frozenset({STR}), kind=str, exact=str)
INTEGER: Final = Integer("int", types=(int,), wire=frozenset({INT}), kind=int, exact=int)
REAL: Final = Real("float", types=(float, int), wire=frozenset({FLOAT, INT}), kind=float)
FREE: Final = Free("Any", types=(object,), wire=ANYTHING, kind=Any)


def _native(kind: type, *, exact: bool = True) -> Scalar:
    return Scalar(called(kind), types=(kind,), wire=frozenset({STR}), kind=kind, exact=kind if exact else None)


SCALARS: Final[dict[Any, Node]] = {
    None: NOTHING,
    type(None): NOTHING,
    bool: Scalar("bool", types=(bool,), wire=frozenset({BOOL}), kind=bool, exact=bool),
    int: INTEGER,
    float: REAL,
    str: TEXT,
    LiteralString: TEXT,
    Any: FREE,
    object: FREE,
    bytes: _native(bytes),
    bytearray: _native(bytearray),
    memoryview: _native(memoryview),
    uuid.UUID: _native(uuid.UUID),
    decimal.Decimal: _native(decimal.Decimal),
    dt.date: Day("date", types=(dt.date,), wire=frozenset({STR}), kind=dt.date, exact=dt.date),
    dt.timedelta: _native(dt.timedelta),
    dt.datetime: Moment("datetime", types=(dt.datetime,), wire=frozenset({STR}), kind=dt.datetime),
    dt.time: Moment("time", types=(dt.time,), wire=frozenset({STR}), kind=dt.time),
    zoneinfo.ZoneInfo: Written(zoneinfo.ZoneInfo, write=_zone_name),
}
SCALARS.update(
    (kind, Written(kind))
    for kind in (
        pathlib.Path,
        pathlib.PurePath,
        pathlib.PurePosixPath,
        pathlib.PureWindowsPath,
        ipaddress.IPv4Address,
        ipaddress.IPv6Address,
        ipaddress.IPv4Network,
        ipaddress.IPv6Network,
        ipaddress.IPv4Interface,
        ipaddress.IPv6Interface,
    )
)
