"""The log: records on topics, from and to everybody.

Laws of this port (its conformance suite holds every adapter to them):
- A record is published when `publish` returns, not before; per partition, records keep the order of the calls.
- All run-keyed topics of one shard are given to one member of a group; partition number = shard number.
- Acknowledged positions are a hint: after any failure records may come again, from anywhere.
- Headers and bytes of a record come out as they went in.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol

import msgspec

Headers = tuple[tuple[str, bytes], ...]


class Unreachable(Exception):
    """The log is out of reach; try again."""


class TooLarge(Exception):
    """A record is over the log's limit; `index` is its place in what was to be published."""

    def __init__(self, index: int, text: str) -> None:
        super().__init__(text)
        self.index = index


class TopicMissing(Exception):
    """A topic does not exist; run `holdfast install`. `topics` are the names that are known to be missing."""

    def __init__(self, text: str, topics: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.topics = tuple(topics)


class Outgoing(msgspec.Struct, frozen=True):
    """A record to publish. `topic` is the full name; `partition` None: murmur2 of the key.

    `stored` marks a record of an event that is in the store's history: a log that lives in the store's own file has
    it already and writes nothing.
    """

    topic: str
    key: bytes
    value: bytes
    headers: Headers = ()
    partition: int | None = None
    stored: bool = False


class Record(msgspec.Struct, frozen=True):
    """A record as it came in; `timestamp` in milliseconds since the epoch."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: Headers = ()
    timestamp: int = 0


class Topic(msgspec.Struct, frozen=True):
    """A topic to create: full name, number of partitions, its settings (`retention.ms`, `cleanup.policy`, …)."""

    name: str
    partitions: int
    settings: dict[str, str] = {}
    replication: int = 1


OnAssigned = Callable[[Collection[int]], Awaitable[None]]
OnRevoked = Callable[[Collection[int]], Awaitable[None]]


class Membership(Protocol):
    """A member of the group that shares out shards: reads the run-keyed topics of the shards it is given."""

    async def poll(self, wait: float, limit: int) -> Sequence[Record]:
        """Take what has come in for this member's shards: at once if there is something, else within `wait` seconds.

        At most about `limit` records; per partition in order. Records of shards revoked meanwhile are left out.
        """

    async def acknowledge(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Remember, as a hint, the next offset to read of (topic, partition). Never raises for a lost group."""

    async def assigned(self) -> frozenset[int]:
        """The shards of this member at this moment."""

    async def rewind(self, shards: Collection[int]) -> None:
        """Read these shards again from the earliest record on.

        No later `poll` gives what was read before. What it gave is not to be acknowledged any more: that would move the
        position over what is read anew.
        """

    async def close(self) -> None:
        """Leave the group: others take over at once."""


class Tasks(Protocol):
    """A worker's reading of its queues, with completion out of order."""

    async def poll(self, wait: float, limit: int) -> Sequence[Record]:
        """Take tasks: at once if there are any, else within `wait` seconds; at most about `limit`."""

    async def done(self, record: Record) -> None:
        """Mark a task as finished; the low watermark and what is finished above it are committed in the background.

        Finished tasks are not handed out again after a clean commit, to this or another member.
        """

    def pause(self) -> None:
        """Stop fetching until `resume`, and stay a member of the group."""

    def resume(self) -> None:
        """Go on fetching."""

    async def close(self) -> None:
        """Commit what is finished and leave the group."""


class Tail(Protocol):
    """A reader without a group, for clients who wait for outcomes or look at dead letters."""

    async def watch(self, partitions: Collection[int]) -> None:
        """Also read these partitions, from their present end on (or from the earliest, as `Log.tail` was asked)."""

    async def poll(self, wait: float, limit: int) -> Sequence[Record]:
        """Take records: at once if there are any, else within `wait` seconds."""

    async def close(self) -> None:
        """Stop reading."""


class Log(Protocol):
    """Records on topics. Every method raises `Unreachable` while no broker answers."""

    async def open(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Flush and disconnect."""

    async def install(self, topics: Sequence[Topic]) -> list[str]:
        """Create missing topics; returns what was done.

        Raises:
            ValueError: a topic has another number of partitions.
        """

    async def missing(self, topics: Sequence[Topic]) -> list[str]:
        """Name the topics that `install` would create."""

    async def identity(self, topics: Sequence[str]) -> Mapping[str, str]:
        """Tell `cluster` and, per topic, an id that changes when the topic is made anew."""

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """Publish all records and wait until they are acknowledged.

        Raises:
            TooLarge: one record is over the limit; others may have been published.
            TopicMissing: a topic does not exist.
            Unreachable: some may have been published; publish all again.
        """

    async def join(
        self, topics: Sequence[str], group: str, *, on_assigned: OnAssigned, on_revoked: OnRevoked, instance: str | None
    ) -> Membership:
        """Become a member of `group` over the shards of `topics` (all with one partition a shard).

        At a rebalance `on_revoked` is awaited with all shards that this member held, before any goes to another; what
        is acknowledged by its end is committed, what was polled and is not acknowledged comes again. Then `on_assigned`
        is called with all shards it has from now on (maybe none): a shard in both has stayed. No record of them is
        polled before `on_assigned` is done; another rebalance cancels it; what it raises the next `poll` raises, and it
        is called again. `close` calls neither. With `instance` the shards stay reserved for a member of that name.
        """

    async def tasks(self, topics: Sequence[str], group: str, *, instance: str | None) -> Tasks:
        """Become a member of the workers' `group` on these task topics."""

    async def tail(self, topic: str, *, earliest: bool = False) -> Tail:
        """Read a topic without a group; `earliest` from its beginning, else from its end."""
