"""What a group commits of a partition: an offset, and in the commit's metadata of which log it is.

Laws of this file:
- An offset means something in one log only. The metadata names it, by the topic's id, which is another when the topic
  is made anew; progress of another log is none: that partition is read from its earliest record on.
- Metadata that names no log was committed by an older release, or by a tool that sets offsets. Its offset is believed:
  not to believe it would repeat all that the log still holds, at every upgrade. What it says of tasks finished above
  the offset is not: were it of another log, new tasks would be passed over. Such tasks are repeated once.
- The metadata is ASCII of at most `LIMIT` bytes, as brokers allow it unless told otherwise.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from aiokafka.structs import TopicPartition

LIMIT = 4096
VERSION = "2."
_ID_LENGTH = 36
_END = "."
FINISHED_LIMIT = LIMIT - len(VERSION) - _ID_LENGTH - len(_END)
"""How much room there is for what is finished above the offset."""

Commits = Mapping[tuple[str, int], tuple[int, str]]
"""By topic and partition: offset and metadata, as they were committed."""


class Progress(NamedTuple):
    """How far a partition is done: all below `offset`, and what `finished` tells of above it (see `Watermark`)."""

    offset: int
    finished: str = ""


class Group(Protocol):
    """The questions about a group that its members ask.

    Both raise `Unreachable` while no broker answers.
    """

    async def committed(self, partitions: Mapping[str, list[int]]) -> Commits:
        """Tell what is committed of those partitions of which anything is."""

    async def ids(self, topics: Sequence[str]) -> Mapping[str, str]:
        """Tell the ids of topics.

        Raises:
            TopicMissing: one is not there.
        """


def metadata(log: str, finished: str) -> str:
    """Write the metadata of a commit."""
    return f"{VERSION}{log}{_END}{finished}"


def progress_in(log: str, offset: int, metadata: str) -> Progress | None:
    """Read a commit for a topic whose id is `log`; None: it is of another log."""
    if not metadata.startswith(VERSION):
        return Progress(offset)
    of, _, finished = metadata.removeprefix(VERSION).partition(_END)
    return Progress(offset, finished) if of == log else None


def by_topic(partitions: frozenset[TopicPartition]) -> dict[str, list[int]]:
    """List the numbers of partitions by their topics."""
    found: dict[str, list[int]] = {}
    for where in sorted(partitions):
        found.setdefault(where.topic, []).append(where.partition)
    return found
