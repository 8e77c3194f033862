"""Whose fault it is: the client library's errors, said in the words of the port.

Laws of this file:
- Nothing of aiokafka leaves the adapter: what comes out is `Unreachable`, `TopicMissing` or `TooLarge`.
- What is not known to be over is worth another try: all that has no better name is `Unreachable`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka import errors as kafka

from holdfast.ports.log import TopicMissing, Unreachable

TOO_LARGE = (kafka.MessageSizeTooLargeError, kafka.RecordListTooLargeError)
"""The broker refuses a batch for its size; nothing of it was written."""

NEW_PRODUCER = (
    kafka.OutOfOrderSequenceNumber,
    kafka.UnknownProducerId,
    kafka.InvalidProducerEpoch,
    kafka.InvalidProducerIdMapping,
)
"""The broker no longer knows this producer; nothing of the batch was written, and a new producer id may write it."""

TROUBLE = (kafka.KafkaError, kafka.ConsumerStoppedError, kafka.IllegalOperation, OSError)
"""What the client library raises when it cannot go on by itself (a timeout is an OSError too)."""


@contextmanager
def at_the_edge(doing: str) -> Iterator[None]:
    """Turn what the client library raises into the port's exceptions."""
    try:
        yield
    except kafka.UnknownTopicOrPartitionError as error:
        raise missing(doing) from error
    except TROUBLE as error:
        raise Unreachable(f"Kafka is out of reach while {doing}: {error or type(error).__name__}") from error


def missing(*topics: str) -> TopicMissing:
    """Say which topics do not exist."""
    return TopicMissing(f"no such topic: {', '.join(sorted(topics))}. Create it with: holdfast install", topics)
