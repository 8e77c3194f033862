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
_SIZES = tuple(map(_SIZE.pack, range(4096)))
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
    parts = [b""]
    nulls = count = 0
    for value in values:
        count += 1
        if value is None:
            nulls = 1
            parts.append(_NULL)
        else:
            data = value.encode()
            parts += (_size(data), data)
    return Texts(_array(parts, count, nulls, Texts.element_oid))


def binaries(values: Iterable[bytes | None]) -> Binaries:
    """Pack bytes; None is null."""
    parts = [b""]
    nulls = count = 0
    for data in values:
        count += 1
        if data is None:
            nulls = 1
            parts.append(_NULL)
        else:
            parts += (_size(data), data)
    return Binaries(_array(parts, count, nulls, Binaries.element_oid))


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
    parts = [b""]
    one = _layout(1).pack
    parts += [_NULL if value is None else one(8, value) for value in values]
    return Numbers(_array(parts, len(values), 1, Numbers.element_oid))


def teach(connection: AsyncConnection) -> None:
    """Let a connection send packed arrays."""
    for dumper in _DUMPERS:
        connection.adapters.register_dumper(dumper.packed, dumper)


def _size(data: bytes) -> bytes:
    size = len(data)
    return _SIZES[size] if size < len(_SIZES) else _SIZE.pack(size)


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
