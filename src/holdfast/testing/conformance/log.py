"""The laws of the log port, as tests that every adapter passes.

A subclass gives the fixtures: `log` (opened), `another_log` (the same log through other connections, opened) and
`topics` (three topics made for this test, each with 4 partitions: two run-keyed ones and one of tasks), and
`record_limit`, the size in bytes that no record may have.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

import pytest

from holdfast.core.identity import murmur2
from holdfast.ports.log import Log, Membership, Outgoing, Record, Tail, Tasks, TooLarge, Topic, TopicMissing
from holdfast.testing.conformance.rows import unique

PARTITIONS = 4
SOON = 20.0
GLANCE = 0.3


class LogFixtures:
    """What a subclass gives."""

    record_limit = 1024 * 1024 + 1

    @pytest.fixture
    async def log(self) -> Log:
        raise NotImplementedError

    @pytest.fixture
    async def another_log(self) -> Log:
        raise NotImplementedError

    @pytest.fixture
    async def topics(self) -> Sequence[Topic]:
        raise NotImplementedError


class TopicLaws(LogFixtures):
    """Topics and what tells a log from another."""

    async def test_topics_are_made_once(self, log: Log, another_log: Log, topics: Sequence[Topic]) -> None:
        new = Topic(f"{topics[0].name}.new", PARTITIONS)
        assert await log.missing([*topics, new]) == [new.name]
        assert len(await log.install([*topics, new])) == 1
        assert await another_log.missing([*topics, new]) == []
        assert await another_log.install([*topics, new]) == []

    async def test_another_number_of_partitions_is_refused(self, log: Log, topics: Sequence[Topic]) -> None:
        with pytest.raises(ValueError, match=topics[0].name):
            await log.install([Topic(topics[0].name, PARTITIONS + 1)])

    async def test_a_log_has_an_identity_and_each_topic_its_own(
        self, log: Log, another_log: Log, topics: Sequence[Topic]
    ) -> None:
        names = [topic.name for topic in topics]
        identity = await log.identity(names)
        assert set(identity) == {"cluster", *names}
        assert all(identity.values())
        assert len({identity[name] for name in names}) == len(names)
        assert await another_log.identity(names) == identity

    async def test_a_topic_that_there_is_not_cannot_be_published_to(self, log: Log, topics: Sequence[Topic]) -> None:
        with pytest.raises(TopicMissing):
            await log.publish([Outgoing(f"{topics[0].name}.none", b"k", b"v")])


class RecordLaws(LogFixtures):
    """What is published comes out as it went in."""

    async def test_bytes_headers_and_keys_come_out_as_they_went_in(self, log: Log, topics: Sequence[Topic]) -> None:
        headers = (("ce_id", b"a/0/1"), ("twice", b"1"), ("twice", b"\xff\x00"), ("empty", b""))
        tail = await watching(log, topics[0])
        await log.publish([Outgoing(topics[0].name, b"k\x00\xff", b"\x00" + bytes(range(256)), headers, 2)])
        (record,) = await take(tail, 1)
        assert (record.topic, record.partition, record.key) == (topics[0].name, 2, b"k\x00\xff")
        assert record.value == b"\x00" + bytes(range(256))
        assert record.headers == headers
        assert 1.6e12 < record.timestamp < 1e13
        await tail.close()

    async def test_a_partition_keeps_the_order_of_the_calls(self, log: Log, topics: Sequence[Topic]) -> None:
        tail = await watching(log, topics[0])
        for first in range(0, 90, 30):
            await log.publish([numbered(topics[0], n, partition=n % 3) for n in range(first, first + 30)])
        records = await take(tail, 90)
        for partition in range(3):
            mine = [record for record in records if record.partition == partition]
            assert [int(record.value) for record in mine] == list(range(partition, 90, 3))
            assert [record.offset for record in mine] == sorted({record.offset for record in mine})
        await tail.close()

    async def test_without_a_partition_the_key_decides_as_for_java_clients(
        self, log: Log, topics: Sequence[Topic]
    ) -> None:
        keys = [f"order-{n}".encode() for n in range(20)]
        tail = await watching(log, topics[0])
        await log.publish([Outgoing(topics[0].name, key, b"v") for key in keys])
        records = await take(tail, 20)
        assert {record.key: record.partition for record in records} == {key: murmur2(key) % PARTITIONS for key in keys}
        await tail.close()

    async def test_one_call_may_publish_to_many_topics(self, log: Log, topics: Sequence[Topic]) -> None:
        tails = [await watching(log, topic) for topic in topics]
        await log.publish([numbered(topic, n) for n in range(10) for topic in topics])
        for tail in tails:
            assert [int(record.value) for record in await take(tail, 10)] == list(range(10))
            await tail.close()

    async def test_nothing_to_publish_is_published(self, log: Log) -> None:
        await log.publish([])

    async def test_a_record_over_the_limit_is_named(self, log: Log, topics: Sequence[Topic]) -> None:
        large = Outgoing(topics[0].name, b"k", bytes(self.record_limit), (), 0)
        with pytest.raises(TooLarge) as refused:
            await log.publish([numbered(topics[0], 0), numbered(topics[0], 1), large])
        assert refused.value.index == 2
        await log.publish([numbered(topics[0], 2)])  # and the log goes on

    async def test_a_tail_from_the_end_sees_what_comes_after_it_began(
        self, log: Log, another_log: Log, topics: Sequence[Topic]
    ) -> None:
        await log.publish([numbered(topics[0], 0), numbered(topics[0], 1, partition=1)])
        tail = await log.tail(topics[0].name)
        await tail.watch([0])
        await another_log.publish([numbered(topics[0], 2), numbered(topics[0], 3, partition=1)])
        assert values(await take(tail, 1)) == [2]
        await tail.watch([0, 1])
        await log.publish([numbered(topics[0], 4), numbered(topics[0], 5, partition=1)])
        assert sorted(values(await take(tail, 2))) == [4, 5]
        assert await tail.poll(GLANCE, 10) == []
        await tail.close()

    async def test_a_tail_from_the_beginning_sees_everything_once(
        self, log: Log, another_log: Log, topics: Sequence[Topic]
    ) -> None:
        await log.publish([numbered(topics[0], n, partition=n % PARTITIONS) for n in range(8)])
        tail = await another_log.tail(topics[0].name, earliest=True)
        await tail.watch([0, 1])
        assert sorted(values(await take(tail, 4))) == [0, 1, 4, 5]
        await tail.watch([2, 3])
        assert sorted(values(await take(tail, 4))) == [2, 3, 6, 7]
        assert await tail.poll(GLANCE, 10) == []
        await tail.close()

    async def test_a_tail_takes_no_more_than_it_was_asked(self, log: Log, topics: Sequence[Topic]) -> None:
        tail = await watching(log, topics[0])
        await log.publish([numbered(topics[0], n) for n in range(10)])
        read: list[Record] = []
        async with asyncio.timeout(SOON):
            while len(read) < 10:
                page = await tail.poll(1.0, 3)
                assert len(page) <= 3
                read += page
        assert values(read) == list(range(10))
        await tail.close()


class MembershipLaws(LogFixtures):
    """The engine's reading."""

    async def test_the_only_member_has_all_shards_of_all_topics(self, log: Log, topics: Sequence[Topic]) -> None:
        group = Group()
        member = await group.join(log, topics)
        await group.has(range(PARTITIONS), member)
        await log.publish([numbered(topic, n, partition=n) for topic in topics[:2] for n in range(PARTITIONS)])
        records = await take(member, 2 * PARTITIONS)
        assert {(r.topic, r.partition) for r in records} == {(t.name, n) for t in topics[:2] for n in range(PARTITIONS)}
        await member.close()

    async def test_what_lay_there_before_the_first_member_is_read(
        self, log: Log, another_log: Log, topics: Sequence[Topic]
    ) -> None:
        await another_log.publish([numbered(topics[0], n) for n in range(5)])
        member = await Group().join(log, topics)
        assert values(await take(member, 5)) == list(range(5))
        await member.close()

    async def test_a_record_of_another_process_comes_soon(
        self, log: Log, another_log: Log, topics: Sequence[Topic]
    ) -> None:
        group = Group()
        member = await group.join(log, topics)
        await group.has(range(PARTITIONS), member)
        waits = asyncio.create_task(take(member, 1))
        await another_log.publish([numbered(topics[0], 7)])
        assert values(await waits) == [7]
        await member.close()

    async def test_records_of_both_processes_keep_their_order(
        self, log: Log, another_log: Log, topics: Sequence[Topic]
    ) -> None:
        member = await Group().join(log, topics)
        for n in range(0, 20, 2):
            await log.publish([numbered(topics[0], n)])
            await another_log.publish([numbered(topics[0], n + 1)])
        assert values(await take(member, 20)) == list(range(20))
        await member.close()

    async def test_an_empty_poll_gives_nothing_after_its_time(self, log: Log, topics: Sequence[Topic]) -> None:
        group = Group()
        member = await group.join(log, topics)
        await group.has(range(PARTITIONS), member)
        assert await member.poll(0.05, 10) == []
        await member.close()

    async def test_what_was_acknowledged_is_not_read_again_after_a_clean_leave(
        self, log: Log, another_log: Log, topics: Sequence[Topic]
    ) -> None:
        group = Group()
        member = await group.join(log, topics)
        await log.publish([numbered(topics[0], n) for n in range(6)])
        records = await take(member, 6)
        await member.acknowledge({(topics[0].name, 0): records[3].offset + 1})
        await member.close()
        await log.close()
        again = await group.join(another_log, topics)
        assert values(await take(again, 2)) == [4, 5]
        await again.close()

    async def test_a_member_that_rewinds_reads_again_what_it_did_not_acknowledge(
        self, log: Log, topics: Sequence[Topic]
    ) -> None:
        member = await Group().join(log, topics)
        await log.publish([numbered(topics[0], n) for n in range(3)])
        first = await take(member, 3)
        await member.rewind(range(PARTITIONS))
        await log.publish([numbered(topics[0], 3)])
        assert values(await take(member, 4)) == [0, 1, 2, 3]
        assert [record.offset for record in first] == sorted(record.offset for record in first)
        await member.close()

    async def test_acknowledging_what_nobody_read_is_no_error(self, log: Log, topics: Sequence[Topic]) -> None:
        member = await Group().join(log, topics)
        await member.acknowledge({(topics[0].name, 3): 17, ("nobody.knows", 99): 1})
        await member.close()
        assert await member.assigned() == frozenset()


class TaskLaws(LogFixtures):
    """The workers' reading."""

    async def test_a_worker_takes_tasks_as_they_come(self, log: Log, topics: Sequence[Topic]) -> None:
        worker = await log.tasks([topics[2].name], unique("workers"), instance=None)
        await log.publish([numbered(topics[2], n, partition=n % PARTITIONS) for n in range(8)])
        assert sorted(values(await take(worker, 8))) == list(range(8))
        await worker.close()

    async def test_finished_tasks_do_not_come_again_and_unfinished_ones_do(
        self, log: Log, another_log: Log, topics: Sequence[Topic]
    ) -> None:
        group = unique("workers")
        worker = await log.tasks([topics[2].name], group, instance=None)
        await log.publish([numbered(topics[2], n) for n in range(10)])
        for record in await take(worker, 10):
            if int(record.value) not in {2, 5}:
                await worker.done(record)
        await worker.close()
        await log.close()
        other = await another_log.tasks([topics[2].name], group, instance=None)
        assert sorted(values(await take(other, 2))) == [2, 5]
        assert await other.poll(GLANCE, 10) == []
        await other.close()

    async def test_a_worker_that_pauses_takes_nothing_until_it_goes_on(self, log: Log, topics: Sequence[Topic]) -> None:
        worker = await log.tasks([topics[2].name], unique("workers"), instance=None)
        await log.publish([numbered(topics[2], 0)])
        assert values(await take(worker, 1)) == [0]
        worker.pause()
        await log.publish([numbered(topics[2], 1)])
        assert await worker.poll(GLANCE, 10) == []
        worker.resume()
        assert values(await take(worker, 1)) == [1]
        await worker.close()

    async def test_two_workers_of_one_group_share_the_tasks(self, log: Log, topics: Sequence[Topic]) -> None:
        group = unique("workers")
        workers = [await log.tasks([topics[2].name], group, instance=None) for _ in range(2)]
        await log.publish([numbered(topics[2], n, partition=n % PARTITIONS) for n in range(20)])
        done: list[int] = []

        async def work(worker: Tasks) -> None:
            while len(done) < 20:
                for record in await worker.poll(0.1, 2):
                    done.append(int(record.value))
                    await worker.done(record)

        async with asyncio.timeout(SOON):
            await asyncio.gather(*map(work, workers))
        assert sorted(done) == list(range(20))
        for worker in workers:
            await worker.close()


class LogConformance(TopicLaws, RecordLaws, MembershipLaws, TaskLaws):
    """All laws of the port that one member can show; subclass it with the three fixtures."""


class Group:
    """A group of its own, and what its member was told."""

    def __init__(self) -> None:
        self.name = unique("engines")
        self.told: list[tuple[str, frozenset[int]]] = []
        self._changed = asyncio.Event()

    def _hear(self, what: str) -> Callable[[Collection[int]], Awaitable[None]]:
        async def heard(shards: Collection[int]) -> None:
            self.told.append((what, frozenset(shards)))
            self._changed.set()

        return heard

    async def join(self, log: Log, topics: Sequence[Topic]) -> Membership:
        """Become a member over the run-keyed topics."""
        return await log.join(
            [topic.name for topic in topics[:2]],
            self.name,
            on_assigned=self._hear("assigned"),
            on_revoked=self._hear("revoked"),
            instance=None,
        )

    async def has(self, shards: Collection[int], member: Membership) -> None:
        """Wait until the member was told that it has these shards, and says so itself."""
        async with asyncio.timeout(SOON):
            while ("assigned", frozenset(shards)) not in self.told:
                self._changed.clear()
                await self._changed.wait()
        assert await member.assigned() == frozenset(shards)


def numbered(topic: Topic, n: int, *, partition: int = 0) -> Outgoing:
    """Give a record whose value is its number."""
    return Outgoing(topic.name, b"k", str(n).encode(), (), partition)


def values(records: Sequence[Record]) -> list[int]:
    return [int(record.value) for record in records]


async def watching(log: Log, topic: Topic) -> Tail:
    """Read all partitions of a topic from its end."""
    tail = await log.tail(topic.name)
    await tail.watch(range(topic.partitions))
    return tail


async def take(reader: Membership | Tasks | Tail, count: int) -> list[Record]:
    """Poll until exactly `count` records have come."""
    found: list[Record] = []
    async with asyncio.timeout(SOON):
        while len(found) < count:
            found += await reader.poll(1.0, count - len(found))
    assert len(found) == count
    return found
