"""The simulated broker: topics in memory, the groups that read them, and how all of it gets lost.

Laws of this file:
- `heard` is told of each record and by whom it was published, `finished` of each task that a worker marks as done.
- A log that is lost is another log: new ids, offsets from 0 on. Whoever still reads at an old offset is not told.
"""

import random
from collections.abc import Callable, Collection, Mapping, Sequence

from holdfast.core.identity import murmur2
from holdfast.ports.log import Outgoing, Record, Topic, TopicMissing
from tests.simulation.groups import Group

Heard = Callable[[Record, str], None]
Listener = Callable[[], None]


class Broker:
    """All topics and groups."""

    def __init__(
        self,
        now: Callable[[], int],
        chance: random.Random,
        heard: Heard = lambda _record, _by: None,
        finished: Heard = lambda _record, _by: None,
    ) -> None:
        self.now = now
        self.chance = chance
        self.heard = heard
        self.finished = finished
        self.away = False
        self.failovers = 0
        self.generation = 1
        self.partitions: dict[str, list[list[Record]]] = {}
        self.made: dict[str, int] = {}
        self.groups: dict[str, Group] = {}
        self.listeners: dict[str, list[Listener]] = {}

    def install(self, topics: Sequence[Topic]) -> list[str]:
        for topic in topics:
            known = self.partitions.get(topic.name)
            if known is not None and len(known) != topic.partitions:
                raise ValueError(f"topic {topic.name} has {len(known)} partitions, not {topic.partitions}")
        new = [topic for topic in topics if topic.name not in self.partitions]
        for topic in new:
            self.partitions[topic.name] = [[] for _ in range(topic.partitions)]
            self.made[topic.name] = self.generation
        return [topic.name for topic in new]

    def missing(self, topics: Sequence[Topic]) -> list[str]:
        return [topic.name for topic in topics if topic.name not in self.partitions]

    def identity(self, topics: Sequence[str]) -> Mapping[str, str]:
        ids = {name: self.log_of(name) for name in topics if name in self.made}
        return {"cluster": f"cluster-{self.generation}"} | ids

    def log_of(self, topic: str) -> str:
        """Tell a topic's id, which changes when it is made anew."""
        return f"{topic}-{self.made[topic]}"

    def require(self, topics: Collection[str]) -> None:
        if absent := sorted(set(topics) - self.partitions.keys()):
            raise TopicMissing(f"there is no topic {', '.join(absent)}", absent)

    def append(self, records: Sequence[Outgoing], by: str) -> None:
        """Take records, and wake those who read their topics."""
        touched: dict[str, None] = {}
        at = self.now() // 1_000
        for one in records:
            topic = self.partitions.get(one.topic)
            if topic is None:
                continue
            partition = murmur2(one.key) % len(topic) if one.partition is None else one.partition
            place = topic[partition]
            record = Record(one.topic, partition, len(place), one.key, one.value, one.headers, at)
            place.append(record)
            touched[one.topic] = None
            self.heard(record, by)
        for name in touched:
            for listener in self.listeners.get(name, ()):
                listener()

    def lose(self, *, offsets_too: bool) -> None:
        """Lose every record: the topics are made anew. Readers keep the positions they had."""
        self.generation += 1
        for name, topic in self.partitions.items():
            self.partitions[name] = [[] for _ in topic]
            self.made[name] = self.generation
        if offsets_too:
            for group in self.groups.values():
                group.forget_progress()

    def group(self, name: str, *, sharded: bool) -> Group:
        found = self.groups.get(name)
        if found is None:
            found = self.groups[name] = Group(self.partitions, self.chance, sharded=sharded)
        return found

    def listen(self, topics: Collection[str], listener: Listener) -> None:
        for name in topics:
            self.listeners.setdefault(name, []).append(listener)

    def hush(self, topics: Collection[str], listener: Listener) -> None:
        for name in topics:
            self.listeners[name].remove(listener)
