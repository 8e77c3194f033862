"""Kafka's Fetch, version 10, written and read by hand, and the sessions that keep its requests small.

A session is what one broker remembers of one reader: its partitions and offsets. Laws of this file (KIP-227):
- A request names only what has changed since the one before; an answer names only partitions with something to tell.
- `told` is what the broker knows: an answer is read against it, whatever is wanted by then.
- After any failure the broker may know something else, so all is told again, in a new session.
- A broker that has no room for a session gives none: it is told everything every time.

Version 10 is in every broker from Kafka 2.1 on and the oldest that gives out batches compressed with zstd.
"""

import struct
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec
from aiokafka.structs import TopicPartition

from holdfast.adapters.kafka.requests import Request as Request  # noqa: PLC0414 - what a session gives out
from holdfast.adapters.kafka.requests import Spoken

FETCH = Spoken("Fetch", 1, 10)
NO_SESSION = 0
LAST_EPOCH = 2**31 - 1

_HEAD = struct.Struct(">iiiibii")
_LENGTH = struct.Struct(">h")
_COUNT = struct.Struct(">i")
_ASKED = struct.Struct(">iiqqi")
_ANSWER = struct.Struct(">ihii")
_ANSWERED = struct.Struct(">ihqqqi")
_ABORTED_BYTES = 16
_READER, _UNCOMMITTED, _ANY = -1, 0, -1


class Limits(msgspec.Struct, frozen=True):
    """How long a broker waits for a first byte, and how much it gives at once."""

    wait_ms: int
    bytes: int
    partition_bytes: int


class Part(msgspec.Struct, frozen=True, gc=False):
    """What an answer tells of one partition."""

    where: TopicPartition
    code: int
    batches: bytes


class Answer(msgspec.Struct, frozen=True):
    """An answer: an error of the whole, or the partitions that have something to tell."""

    code: int
    session: int
    parts: tuple[Part, ...]


class Session:
    """What one broker is told of one reader."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._id = NO_SESSION
        self._epoch = 0
        self._news: set[TopicPartition] = set()
        self.wanted: dict[TopicPartition, int] = {}
        self.told: dict[TopicPartition, int] = {}

    def want(self, wanted: dict[TopicPartition, int]) -> None:
        """Read these partitions from these offsets on, and no others."""
        changed = {where for where, offset in wanted.items() if self.told.get(where) != offset}
        self._news = changed | (self.told.keys() - wanted.keys())
        self.wanted = wanted

    def move(self, where: TopicPartition, offset: int) -> None:
        """Read on from another offset of a partition, if it is wanted at all."""
        if where in self.wanted:
            self.wanted[where] = offset
            self._news.add(where)

    def request(self) -> Request:
        """Say what has changed; from now on the broker counts as told."""
        if self._epoch == 0:
            self.told = dict(self.wanted)
            asked: Mapping[TopicPartition, int] = self.told
            forgotten: Collection[TopicPartition] = ()
        else:
            asked = {where: self.wanted[where] for where in self._news if where in self.wanted}
            forgotten = [where for where in self._news if where not in self.wanted and where in self.told]
            self.told.update(asked)
            for where in forgotten:
                del self.told[where]
        self._news = set()
        limits = self._limits
        head = _HEAD.pack(_READER, limits.wait_ms, 1, limits.bytes, _UNCOMMITTED, self._id, self._epoch)
        return Request(FETCH, head + _asked(asked, limits.partition_bytes) + _forgotten(forgotten))

    def answered(self, session: int) -> None:
        """Go on in the session of an answer without an error."""
        self._id = session
        if session != NO_SESSION:
            self._epoch = self._epoch + 1 if self._epoch < LAST_EPOCH else 1

    def begin_again(self) -> None:
        """Tell everything with the next request; it also ends the session that was."""
        self._epoch = 0


def read_answer(data: bytes) -> Answer:
    """Read an answer.

    Raises:
        struct.error: these bytes are not one.
    """
    _throttle, code, session, topics = _ANSWER.unpack_from(data)
    return Answer(code, session, tuple(_parts(data, topics)))


def _parts(data: bytes, topics: int) -> Iterator[Part]:
    at = _ANSWER.size
    for _ in range(topics):
        (length,) = _LENGTH.unpack_from(data, at)
        at += 2
        topic = data[at : at + length].decode()
        at += length
        (partitions,) = _COUNT.unpack_from(data, at)
        at += 4
        for _ in range(partitions):
            partition, code, _high, _stable, _start, aborted = _ANSWERED.unpack_from(data, at)
            at += _ANSWERED.size + max(aborted, 0) * _ABORTED_BYTES
            (size,) = _COUNT.unpack_from(data, at)
            at += 4
            size = max(size, 0)
            if at + size > len(data):
                raise struct.error("the answer ends within its batches")
            yield Part(TopicPartition(topic, partition), code, data[at : at + size])
            at += size


def _asked(offsets: Mapping[TopicPartition, int], limit: int) -> bytes:
    return _by_topic(
        (where, _ASKED.pack(where.partition, _ANY, offset, _ANY, limit)) for where, offset in offsets.items()
    )


def _forgotten(partitions: Collection[TopicPartition]) -> bytes:
    return _by_topic((where, _COUNT.pack(where.partition)) for where in partitions)


def _by_topic(entries: Any) -> bytes:
    """Write an array of topics, each with an array of its partitions' entries."""
    topics: dict[str, list[bytes]] = {}
    for where, entry in entries:
        topics.setdefault(where.topic, []).append(entry)
    parts = [_COUNT.pack(len(topics))]
    for topic, written in topics.items():
        name = topic.encode()
        parts += (_LENGTH.pack(len(name)), name, _COUNT.pack(len(written)), *written)
    return b"".join(parts)
