"""Lists as PostgreSQL's binary arrays, laid out in one go: a batch is thousands of values, and each costs.

Law: the type is fixed by the function that packs, so a statement has one set of parameter types and is prepared once.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from struct import Struct
from typing import ClassVar

from psycopg import AsyncConnection
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEAD = Struct(">iiIii")
_EMPTY = Struct(">iiI")
_SIZE = Struct(">i")
_size = lru_cache(maxsize=4096)(_SIZE.pack)
_NULL = _SIZE.pack(-1)
_YES, _NO = _SIZE.pack(1) + b"\x01", _SIZE.pack(1) + b"\x00"


class Packed:
    """The bytes of an array."""

    __slots__ = ("data",)
    array_oid: ClassVar[int]
    element_oid: ClassVar[int]

    def __init__(self, data: bytes) -> None:
        self.data = data


class Texts(Packed):
    """A text[]."""

    array_oid, element_oid = 1009, 25


class Binaries(Packed):
    """A bytea[]."""

    array_oid, element_oid = 1001, 17


class Flags(Packed):
    """A bool[]."""

    array_oid, element_oid = 1000, 16


class Numbers(Packed):
    """An int8[]."""

    array_oid, element_oid = 1016, 20


def texts(values: Iterable[str | None]) -> Texts:
    """Pack texts; None is null."""
    found = list(values)
    first = found[0] if found else None
    if first is not None and found.count(first) == len(found):  # a batch of one kind: one state, one owner
        return Texts(_alike(first.encode(), len(found), Texts.element_oid))
    return Texts(_sized([None if value is None else value.encode() for value in found], Texts.element_oid))


def binaries(values: Iterable[bytes | None]) -> Binaries:
    """Pack bytes; None is null."""
    return Binaries(_sized(list(values), Binaries.element_oid))


def flags(values: Sequence[bool]) -> Flags:
    """Pack yes and no."""
    return Flags(_array([b"", *(_YES if value else _NO for value in values)], len(values), 0, Flags.element_oid))


def numbers(values: Iterable[int]) -> Numbers:
    """Pack numbers of 64 bits."""
    found = list(values)
    flat = [8] * (2 * len(found))
    flat[1::2] = found
    return Numbers(_array([b"", _layout(len(found)).pack(*flat)], len(found), 0, Numbers.element_oid))


def numbers_or_none(values: Sequence[int | None]) -> Numbers:
    """Pack numbers of 64 bits; None is null."""
    if values.count(None) == 0:
        return numbers(values)  # type: ignore[arg-type]  # there is no None
    one = _layout(1).pack
    parts = [b"", *(_NULL if value is None else one(8, value) for value in values)]
    return Numbers(_array(parts, len(values), 1, Numbers.element_oid))


def teach(connection: AsyncConnection) -> None:
    """Let a connection send packed arrays."""
    for dumper in _DUMPERS:
        connection.adapters.register_dumper(dumper.packed, dumper)


def _alike(data: bytes, count: int, oid: int) -> bytes:
    """Lay out the same value `count` times."""
    return _array([b"", (_SIZE.pack(len(data)) + data) * count], count, 0, oid)


def _sized(values: list[bytes | None], oid: int) -> bytes:
    """Lay out values, each after its size; None is null."""
    count, nulls = len(values), values.count(None)
    if nulls == count:
        return _array([b"", _NULL * count], count, min(nulls, 1), oid)
    parts = [b""] * (2 * count + 1)
    parts[1::2] = [_NULL if data is None else _size(len(data)) for data in values]
    parts[2::2] = [data or b"" for data in values] if nulls else values  # type: ignore[assignment]  # no None is left
    return _array(parts, count, min(nulls, 1), oid)


def _array(parts: list[bytes], count: int, nulls: int, oid: int) -> bytes:
    parts[0] = _HEAD.pack(1, nulls, oid, count, 1) if count else _EMPTY.pack(0, 0, oid)
    return b"".join(parts)


@lru_cache(maxsize=1024)
def _layout(count: int) -> Struct:
    return Struct(">" + "iq" * count)


class _Dumper(Dumper):
    packed: ClassVar[type[Packed]]
    format = Format.BINARY

    def dump(self, obj: Packed) -> bytes:
        return obj.data


class _TextsDumper(_Dumper):
    packed, oid = Texts, Texts.array_oid


class _BinariesDumper(_Dumper):
    packed, oid = Binaries, Binaries.array_oid


class _FlagsDumper(_Dumper):
    packed, oid = Flags, Flags.array_oid


class _NumbersDumper(_Dumper):
    packed, oid = Numbers, Numbers.array_oid


_DUMPERS = (_TextsDumper, _BinariesDumper, _FlagsDumper, _NumbersDumper)
