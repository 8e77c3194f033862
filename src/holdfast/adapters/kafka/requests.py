"""Requests written by hand, as a connection of aiokafka sends them, and Kafka's Produce, version 7, among them.

aiokafka describes each request with nested objects, which it walks for every field of every partition: that costs more
than the records do. Produce version 7 is in every broker from Kafka 2.1 on.
"""

import struct
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import NamedTuple

from aiokafka import errors

ALL_IN_SYNC = -1

_HEADER = struct.Struct(">hhih")
_PRODUCE = struct.Struct(">hhii")
_BATCH = struct.Struct(">ii")
_LENGTH = struct.Struct(">h")
_COUNT = struct.Struct(">i")
_PRODUCED = struct.Struct(">ihqqq")
_NULL = -1


class Spoken(NamedTuple):
    """One version of one kind of request."""

    name: str
    api: int
    version: int


PRODUCE = Spoken("Produce", 0, 7)


class Request:
    """Both a request and its encoded form, as the connection wants it."""

    class _Header(bytes):
        def encode(self) -> bytes:
            return self

    class _Correlation(int):
        @property
        def correlation_id(self) -> int:
            return self

    class RESPONSE_TYPE:  # noqa: N801 - the connection asks for it by this name
        """The bytes as they came: they are read outside of the connection."""

        @staticmethod
        def decode(data: BytesIO) -> bytes:
            return data.read()

    def __init__(self, spoken: Spoken, body: bytes) -> None:
        self._spoken = spoken
        self._body = body

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> "Request":
        name, api, version = self._spoken
        oldest, newest = versions.get(api, (0, 0))
        if not oldest <= version <= newest:
            raise errors.IncompatibleBrokerVersion(f"this broker does not speak {name} v{version}")
        return self

    def build_request_header(self, correlation_id: int, client_id: str) -> "Request._Header":
        client = client_id.encode()
        _name, api, version = self._spoken
        return self._Header(_HEADER.pack(api, version, correlation_id, len(client)) + client)

    def encode(self) -> bytes:
        return self._body

    def parse_response_header(self, data: BytesIO) -> "Request._Correlation":
        return self._Correlation(int.from_bytes(data.read(4), "big"))


def produce(batches: Iterable[tuple[str, int, bytes]], timeout_ms: int) -> Request:
    """Ask for batches, each of one (topic, partition), to be written to all in-sync replicas."""
    topics: dict[str, list[bytes]] = {}
    for topic, partition, data in batches:
        topics.setdefault(topic, []).extend((_BATCH.pack(partition, len(data)), data))
    parts = [_PRODUCE.pack(_NULL, ALL_IN_SYNC, timeout_ms, len(topics))]
    for topic, written in topics.items():
        name = topic.encode()
        parts += (_LENGTH.pack(len(name)), name, _COUNT.pack(len(written) // 2), *written)
    return Request(PRODUCE, b"".join(parts))


def produced(data: bytes) -> list[tuple[tuple[str, int], int]]:
    """Read the broker's verdict on each (topic, partition): an error's code, or 0.

    Raises:
        struct.error: these bytes are no such answer.
    """
    verdicts = []
    (topics,) = _COUNT.unpack_from(data)
    at = 4
    for _ in range(topics):
        (length,) = _LENGTH.unpack_from(data, at)
        at += 2
        topic = data[at : at + length].decode()
        at += length
        (partitions,) = _COUNT.unpack_from(data, at)
        at += 4
        for _ in range(partitions):
            partition, code, _offset, _at, _start = _PRODUCED.unpack_from(data, at)
            at += _PRODUCED.size
            verdicts.append(((topic, partition), code))
    return verdicts
