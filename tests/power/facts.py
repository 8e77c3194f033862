"""What was acknowledged to somebody, as it stands in the journal beside the operations of the disk.

Law: a fact is marked after the call that acknowledged it returned, and never before.
"""

import ctypes
from collections.abc import Iterable
from zlib import crc32

import msgspec

from holdfast.ports.journal import StoredEvent
from tests.power.journal import Operation

EventKey = tuple[str, int, int, int]
"""Run, incarnation, seq, and a checksum of the bytes."""


class Fact(msgspec.Struct, frozen=True, tag=True):
    """The base of all facts."""


class Ready(Fact, frozen=True):
    """An engine serves: the file is installed."""


class Committed(Fact, frozen=True):
    """`commit` answered: the shards' batch numbers, and the events."""

    numbers: dict[int, int]
    events: tuple[EventKey, ...]


class Kept(Fact, frozen=True):
    """`put_blobs` answered."""

    blobs: tuple[str, ...]


class Started(Fact, frozen=True):
    """A start was published, or its client has the answer."""

    run_id: str


class Signalled(Fact, frozen=True):
    """A signal was published, or its client has the answer."""

    run_id: str
    message_id: str


class Ended(Fact, frozen=True):
    """A client has the result."""

    run_id: str


AnyFact = Ready | Committed | Kept | Started | Signalled | Ended

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AnyFact).decode


def key_of(event: StoredEvent) -> EventKey:
    return event.run_id, event.incarnation, event.seq, crc32(event.data)


def mark(fact: AnyFact) -> None:
    """Say it to the witness of this process."""
    data = _encode(fact)
    ctypes.CDLL(None).power_mark(data, ctypes.c_size_t(len(data)))


def of(operations: Iterable[Operation]) -> list[AnyFact]:
    """Read the facts among operations."""
    return [_decode(one.data) for one in operations if one.kind == "M"]
