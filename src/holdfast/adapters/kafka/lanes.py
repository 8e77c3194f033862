"""What a round of publishing still has to settle: the records of some calls, in lanes, one a partition.

Laws of this file:
- Within a lane records stand in the order of the calls.
- A record is settled once: acknowledged, or its call failed. A call is done when all its records are.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import lru_cache

from holdfast.adapters.kafka.metadata import Described
from holdfast.core.identity import murmur2
from holdfast.ports.log import Outgoing, TooLarge, TopicMissing

Lane = tuple[str, int]

MAX_RECORD = 64 * 1024 * 1024
"""A broker closes the connection on a request over 100 MB (its socket.request.max.bytes), and says nothing."""

hash_of = lru_cache(maxsize=131_072)(murmur2)


class Call:
    """One call of `publish`, and how many of its records are not settled yet."""

    __slots__ = ("done", "open", "records")

    def __init__(self, records: Sequence[Outgoing], done: asyncio.Future[None]) -> None:
        self.records = records
        self.open = len(records)
        self.done = done

    def settle(self) -> None:
        self.open -= 1
        if not self.open and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


Waiting = tuple[Call, int]


class Lanes:
    """The records that are not settled. `alone` names the lanes whose batches take one record each."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self.lanes: dict[Lane, list[Waiting]] = {}
        self.alone: set[Lane] = set()
        self._unplaced: list[Waiting] = [(call, index) for call in calls for index in range(len(call.records))]

    def __bool__(self) -> bool:
        return bool(self.lanes or self._unplaced)

    @property
    def all_placed(self) -> bool:
        return not self._unplaced

    def topics(self) -> set[str]:
        return {lane[0] for lane in self.lanes} | {call.records[index].topic for call, index in self._unplaced}

    def place(self, topics: Mapping[str, Described]) -> None:
        """Put what has no lane into one, as far as its topic is known."""
        unplaced, self._unplaced = self._unplaced, []
        lanes = self.lanes
        for waiting in unplaced:
            call, index = waiting
            record = call.records[index]
            topic, partition = record.topic, record.partition
            if len(record.value) > MAX_RECORD:
                call.fail(TooLarge(index, f"record {index} is over the {MAX_RECORD} bytes that one request may hold"))
                continue
            described = topics.get(topic)
            if described is None:
                self._unplaced.append(waiting)
                continue
            count = len(described.leaders)
            if partition is None:
                partition = hash_of(record.key) % count
            elif partition >= count:
                call.fail(TopicMissing(f"topic {topic} has {count} partitions, none with the number {partition}"))
                continue
            lane = (topic, partition)
            found = lanes.get(lane)
            if found is None:
                lanes[lane] = [waiting]
            else:
                found.append(waiting)

    def acknowledged(self, lane: Lane, count: int) -> None:
        """Settle the first `count` records of a lane."""
        for call, _index in self._take(lane, count):
            call.settle()

    def refused(self, lane: Lane, count: int, error: Exception) -> None:
        """Fail the calls of the first `count` records of a lane."""
        for call, _index in self._take(lane, count):
            call.fail(error)

    def too_large(self, lane: Lane, count: int) -> None:
        """Find out which of several records is over the limit, by sending each alone; fail it when it is one."""
        if count > 1:
            self.alone.add(lane)
            return
        for call, index in self._take(lane, 1):
            size = len(call.records[index].value)
            call.fail(TooLarge(index, f"record {index} ({size} bytes) is over the limit of topic {lane[0]}"))

    def drop(self, topic: str, error: Exception) -> None:
        """Fail the calls that have records for a topic."""
        for lane in [lane for lane in self.lanes if lane[0] == topic]:
            self.refused(lane, len(self.lanes[lane]), error)
        for call, index in self._unplaced:
            if call.records[index].topic == topic:
                call.fail(error)
        self._unplaced = [(call, index) for call, index in self._unplaced if call.records[index].topic != topic]

    def fail(self, error: Exception) -> None:
        """Fail every call that is not done."""
        for topic in self.topics():
            self.drop(topic, error)

    def _take(self, lane: Lane, count: int) -> list[Waiting]:
        waiting = self.lanes[lane]
        if count == len(waiting):
            del self.lanes[lane]
            return waiting
        self.lanes[lane] = waiting[count:]
        return waiting[:count]
