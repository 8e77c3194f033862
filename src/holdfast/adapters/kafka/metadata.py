"""One request and answer of Kafka's protocol that aiokafka does not have: Metadata, version 12.

It tells a topic's id, which changes when the topic is made anew, and it never creates the topic it asks about.
Brokers from Kafka 3.1 on answer it.
"""

import uuid
from collections.abc import Mapping, Sequence
from io import BytesIO

import msgspec
from aiokafka import errors
from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

API = 3
VERSION = 12
NO_LEADER = -1
_ID_BYTES = 16
_NIL = bytes(_ID_BYTES)


class Described(msgspec.Struct, frozen=True):
    """A topic as the cluster knows it: its id, and the leader's node of each partition (-1: none at present)."""

    id: str
    leaders: tuple[int, ...]


class _Id:
    """16 bytes, as they are."""

    @staticmethod
    def encode(value: bytes) -> bytes:
        return value

    @staticmethod
    def decode(data: BytesIO) -> bytes:
        return data.read(_ID_BYTES)

    @staticmethod
    def repr(value: bytes) -> str:
        return value.hex()


def _array(*fields: tuple[str, object]) -> Array:
    return CompactArray(Schema(*fields, ("tags", TaggedFields)))


class MetadataResponse(Response):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY = API
    API_VERSION = VERSION
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", _array(("node_id", Int32), ("host", CompactString()), ("port", Int32), ("rack", CompactString()))),
        ("cluster_id", CompactString()),
        ("controller_id", Int32),
        (
            "topics",
            _array(
                ("error_code", Int16),
                ("name", CompactString()),
                ("topic_id", _Id()),
                ("is_internal", Boolean),
                (
                    "partitions",
                    _array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                    ),
                ),
                ("operations", Int32),
            ),
        ),
        ("tags", TaggedFields),
    )


class _MetadataRequestStruct(RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    FLEXIBLE_VERSION = True
    API_KEY = API
    API_VERSION = VERSION
    RESPONSE_TYPE = MetadataResponse
    SCHEMA = Schema(
        ("topics", _array(("topic_id", _Id()), ("name", CompactString()))),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class MetadataRequest:
    """Ask about `topics`; what is not there is told as an error and not created."""

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = topics

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> RequestStruct:
        """Choose the version to speak, as a connection asks it."""
        oldest, newest = versions.get(API, (0, 0))
        if not oldest <= VERSION <= newest:
            raise errors.IncompatibleBrokerVersion("Holdfast needs brokers of Kafka 3.1 or newer (Metadata v12)")
        return _MetadataRequestStruct([(_NIL, topic, {}) for topic in self._topics], False, False, {})  # noqa: FBT003 - the fields of a wire format have no names here


def described(response: MetadataResponse) -> tuple[str, dict[str, Described]]:
    """Read the cluster's id and the topics that exist; a topic that cannot be described for now counts as there.

    Raises:
        KafkaError: the broker refuses to tell of a topic.
    """
    topics = {}
    for code, name, topic_id, _internal, partitions, *_ in response.topics:
        error = errors.for_code(code)
        if error is errors.UnknownTopicOrPartitionError:
            continue
        if error not in {errors.NoError, errors.LeaderNotAvailableError}:
            raise error(name)
        leaders = [NO_LEADER] * len(partitions)
        for _code, partition, leader, *_rest in partitions:
            leaders[partition] = leader
        topics[name] = Described(str(uuid.UUID(bytes=topic_id)), tuple(leaders))
    return response.cluster_id or "", topics
