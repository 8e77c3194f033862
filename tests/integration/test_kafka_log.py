"""The log on a real Kafka: what its conformance suite does not ask of every log."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence

import confluent_kafka
import pytest

from holdfast.adapters.kafka.log import KafkaLog
from holdfast.adapters.kafka.membership import KafkaMembership
from holdfast.core.identity import murmur2
from holdfast.ports.log import Outgoing, Record, Tail, Tasks, TooLarge, Topic, TopicMissing, Unreachable
from tests.servers import Servers

pytestmark = pytest.mark.servers

SHARDS = 16


async def until(condition: Callable[[], bool], limit: float = 20.0) -> float:
    """Wait on a condition; tells how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit, "it did not come true in time"
        await asyncio.sleep(0.01)
    return time.monotonic() - began


async def read(reader: Tail | Tasks | KafkaMembership, count: int, limit: float = 20.0) -> list[Record]:
    """Read until `count` records have come."""
    records: list[Record] = []
    began = time.monotonic()
    while len(records) < count:
        assert time.monotonic() - began < limit, f"{len(records)} of {count} records came"
        records += await reader.poll(0.2, 256)
    return records


class Member:
    """A process of the group, as far as the log sees it."""

    def __init__(self) -> None:
        self.shards: frozenset[int] | None = None
        self.told: list[tuple[str, frozenset[int]]] = []
        self.membership: KafkaMembership | None = None

    async def join(self, log: KafkaLog, topics: Sequence[str], group: str) -> KafkaMembership:
        async def on_assigned(shards: Collection[int]) -> None:
            self.shards = frozenset(shards)
            self.told.append(("assigned", frozenset(shards)))

        async def on_revoked(shards: Collection[int]) -> None:
            self.shards = frozenset()
            self.told.append(("revoked", frozenset(shards)))

        self.membership = await log.join(topics, group, on_assigned=on_assigned, on_revoked=on_revoked, instance=None)
        return self.membership


def shared_out(members: Collection[Member]) -> bool:
    held = [member.shards or frozenset() for member in members]
    sizes = [len(shards) for shards in held]
    return sorted(s for shards in held for s in shards) == list(range(SHARDS)) and max(sizes) - min(sizes) <= 1


@pytest.fixture
async def log(servers: Servers) -> AsyncIterator[KafkaLog]:
    log = KafkaLog(servers.kafka)
    await log.open()
    yield log
    await log.close()


@pytest.fixture
async def topics(log: KafkaLog, namespace: str) -> list[str]:
    names = [f"{namespace}.commands.v1", f"{namespace}.results.v1"]
    await log.install([Topic(name, SHARDS) for name in names])
    return names


async def test_one_to_five_members_share_the_shards_and_each_shard_has_all_its_topics_in_one_place(
    log: KafkaLog, topics: list[str], namespace: str
) -> None:
    members: list[Member] = []
    try:
        for number in range(1, 6):
            before = {id(member): member.shards or frozenset() for member in members}
            members.append(Member())
            await members[-1].join(log, topics, namespace)
            await until(lambda: shared_out(members))
            stayed = sum(len((m.shards or frozenset()) & before.get(id(m), frozenset())) for m in members)
            assert stayed == SHARDS - SHARDS // number or number == 1, "only what the newcomer needs has moved"

        await log.publish([Outgoing(topic, b"k", b"%d" % s, partition=s) for topic in topics for s in range(SHARDS)])

        for member in members:
            assert member.membership is not None
            shards = member.shards or frozenset()
            records = await read(member.membership, 2 * len(shards))
            assert sorted((r.topic, r.partition) for r in records) == sorted((t, s) for t in topics for s in shards)

        for _ in range(4):
            leaver = members.pop(0)
            assert leaver.membership is not None
            await leaver.membership.close()
            await until(lambda: shared_out(members))
    finally:
        await asyncio.gather(*(member.membership.close() for member in members if member.membership is not None))


async def test_when_a_member_leaves_the_others_take_over_within_two_seconds(
    log: KafkaLog, topics: list[str], namespace: str
) -> None:
    first, second = Member(), Member()
    leaving = await first.join(log, topics, namespace)
    staying = await second.join(log, topics, namespace)
    await until(lambda: shared_out([first, second]))

    began = time.monotonic()
    await leaving.close()
    await until(lambda: len(second.shards or ()) == SHARDS)

    assert time.monotonic() - began < 2
    await staying.close()


async def test_a_member_is_told_of_all_it_held_before_others_get_any_of_it(
    log: KafkaLog, topics: list[str], namespace: str
) -> None:
    first, second = Member(), Member()
    one = await first.join(log, topics, namespace)
    await until(lambda: len(first.shards or ()) == SHARDS)
    two = await second.join(log, topics, namespace)
    await until(lambda: shared_out([first, second]))

    every = frozenset(range(SHARDS))
    assert first.told[:2] == [("assigned", every), ("revoked", every)]
    assert first.told[-1] == ("assigned", await one.assigned())
    assert await one.assigned() | await two.assigned() == every
    await one.close()
    await two.close()


async def test_a_rebalance_cancels_what_a_member_does_with_its_new_shards(
    log: KafkaLog, topics: list[str], namespace: str
) -> None:
    told: list[str] = []

    async def stuck(shards: Collection[int]) -> None:
        told.append(f"assigned {len(shards)}")
        try:
            if len(shards) == SHARDS:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    async def on_revoked(shards: Collection[int]) -> None:
        told.append(f"revoked {len(shards)}")

    one = await log.join(topics, namespace, on_assigned=stuck, on_revoked=on_revoked, instance=None)
    await log.publish([Outgoing(topics[0], b"k", b"v", partition=s) for s in range(SHARDS)])
    await until(lambda: bool(told))
    assert await one.poll(0.5, 10) == [], "nothing is handed out before the member is ready for it"

    two = await Member().join(log, topics, namespace)

    await until(lambda: told[-1] == "assigned 8")
    assert told == ["assigned 16", "cancelled", "revoked 16", "assigned 8"]
    assert len(await read(one, 8)) == 8
    await one.close()
    await two.close()


async def test_what_a_member_raises_over_its_new_shards_comes_out_of_its_poll_and_is_tried_again(
    log: KafkaLog, topics: list[str], namespace: str
) -> None:
    tries: list[int] = []

    async def on_assigned(shards: Collection[int]) -> None:
        tries.append(len(shards))
        if len(tries) == 1:
            raise RuntimeError("the store is away")

    async def on_revoked(shards: Collection[int]) -> None:
        pass

    member = await log.join(topics, namespace, on_assigned=on_assigned, on_revoked=on_revoked, instance=None)
    await until(lambda: bool(tries))
    with pytest.raises(RuntimeError, match="the store is away"):
        await read(member, 1)
    await log.publish([Outgoing(topics[0], b"k", b"v")])
    assert len(await read(member, 1)) == 1
    assert tries == [SHARDS, SHARDS]
    await member.close()


async def test_a_named_instance_that_comes_back_has_its_shards_again_and_nobody_else_is_disturbed(
    log: KafkaLog, topics: list[str], namespace: str
) -> None:
    told: dict[str, list[tuple[str, frozenset[int]]]] = {}

    async def join(name: str) -> KafkaMembership:
        mine = told.setdefault(name, [])

        async def on_assigned(shards: Collection[int]) -> None:
            mine.append(("assigned", frozenset(shards)))

        async def on_revoked(shards: Collection[int]) -> None:
            mine.append(("revoked", frozenset(shards)))

        return await log.join(topics, namespace, on_assigned=on_assigned, on_revoked=on_revoked, instance=name)

    one = await join("one")
    await until(lambda: bool(told["one"]))
    two = await join("two")
    await until(lambda: told["one"][-1][0] == "assigned" and len(told["one"][-1][1]) == 8 and bool(told["two"]))
    shards, quiet = told["two"][-1], len(told["one"])

    await two.close()
    two = await join("two")
    await until(lambda: told["two"][1:] != [])

    assert told["two"][-1] == shards
    assert len(told["one"]) == quiet
    await one.close()
    await two.close()


async def test_what_is_acknowledged_is_not_read_again_by_the_next_owner(
    log: KafkaLog, topics: list[str], namespace: str
) -> None:
    await log.publish([Outgoing(topics[0], b"k", b"%d" % n, partition=3) for n in range(10)])
    first, second = Member(), Member()
    one = await first.join(log, topics, namespace)
    records = await read(one, 10)
    await one.acknowledge({(records[5].topic, 3): records[5].offset + 1})
    await one.close()

    two = await second.join(log, topics, namespace)

    assert [record.value for record in await read(two, 4)] == [b"6", b"7", b"8", b"9"]
    await two.rewind([3])
    assert [record.value for record in await read(two, 10)] == [b"%d" % n for n in range(10)]
    await two.close()


async def test_a_task_finished_out_of_order_is_not_handed_out_again_after_a_clean_restart(
    log: KafkaLog, namespace: str
) -> None:
    queue = f"{namespace}.tasks.default.v1"
    await log.install([Topic(queue, 1)])
    await log.publish([Outgoing(queue, b"k", b"%d" % n) for n in range(6)])
    worker = await log.tasks([queue], namespace, instance=None)
    for record in await read(worker, 6):
        if record.value in {b"1", b"3", b"4"}:
            await worker.done(record)
    await worker.close()

    successor = await log.tasks([queue], namespace, instance=None)

    assert [record.value for record in await read(successor, 3)] == [b"0", b"2", b"5"]
    assert await successor.poll(0.5, 10) == []
    await successor.close()


async def test_a_rebalance_neither_repeats_what_runs_here_nor_what_is_finished(log: KafkaLog, namespace: str) -> None:
    queue = f"{namespace}.tasks.default.v1"
    await log.install([Topic(queue, 1)])
    await log.publish([Outgoing(queue, b"k", b"%d" % n) for n in range(4)])
    workers = [await log.tasks([queue], namespace, instance=None)]
    records = await read(workers[0], 4)
    await workers[0].done(records[2])

    workers.append(await log.tasks([queue], namespace, instance=None))
    came: dict[int, list[bytes]] = {0: [], 1: []}
    began = time.monotonic()
    while time.monotonic() - began < 4:
        for number, worker in enumerate(workers):
            came[number] += [record.value for record in await worker.poll(0.1, 10)]

    # Whoever has the partition now: the first has its tasks running, the second does not know of that.
    assert came[0] == []
    assert came[1] in ([], [b"0", b"1", b"3"])
    await asyncio.gather(*(worker.close() for worker in workers))


async def test_a_worker_that_is_full_stays_a_member_and_goes_on_later(log: KafkaLog, namespace: str) -> None:
    queue = f"{namespace}.tasks.default.v1"
    await log.install([Topic(queue, 2)])
    worker = await log.tasks([queue], namespace, instance=None)
    worker.pause()
    await log.publish([Outgoing(queue, b"k", b"v")])
    assert await worker.poll(0.3, 10) == []
    worker.resume()
    assert len(await read(worker, 1)) == 1
    await worker.close()


async def test_our_partitions_are_those_of_librdkafka_told_to_hash_as_java_does(
    log: KafkaLog, servers: Servers, topics: list[str]
) -> None:
    tail = await log.tail(topics[0])
    await tail.watch(range(SHARDS))
    keys = [f"order-{n}".encode() for n in range(300)]
    other = confluent_kafka.Producer(
        {"bootstrap.servers": servers.kafka, "partitioner": "murmur2_random", "log_level": 0}
    )
    for key in keys:
        other.produce(topics[0], key=key, value=b"theirs")
    other.flush(10)
    await log.publish([Outgoing(topics[0], key, b"ours") for key in keys])

    records = await read(tail, 600)

    assert all(record.partition == murmur2(record.key or b"") % SHARDS for record in records)
    theirs = {record.key: record.partition for record in records if record.value == b"theirs"}
    assert theirs == {record.key: record.partition for record in records if record.value == b"ours"}
    assert len(theirs) == 300
    await tail.close()


async def test_many_callers_at_once_keep_the_order_of_their_calls(log: KafkaLog, topics: list[str]) -> None:
    tail = await log.tail(topics[0])
    await tail.watch([5])
    await asyncio.gather(*(log.publish([Outgoing(topics[0], b"k", b"%d" % n, partition=5)]) for n in range(500)))
    assert [int(record.value) for record in await read(tail, 500)] == list(range(500))
    await tail.close()


async def test_one_record_over_the_limit_is_named_and_does_not_hinder_the_others(
    log: KafkaLog, topics: list[str]
) -> None:
    tail = await log.tail(topics[0])
    await tail.watch([1])
    beside = asyncio.gather(*(log.publish([Outgoing(topics[0], b"k", b"small", partition=1)]) for _ in range(5)))
    with pytest.raises(TooLarge) as refused:
        await log.publish([Outgoing(topics[0], b"k", b"x" * size, partition=1) for size in (10, 3_000_000, 10)])
    assert refused.value.index == 1
    await beside
    assert sorted(len(record.value) for record in await read(tail, 7)) == [5, 5, 5, 5, 5, 10, 10]
    await tail.close()


async def test_a_megabyte_of_records_for_one_partition_goes_in_several_batches_in_order(
    log: KafkaLog, topics: list[str]
) -> None:
    tail = await log.tail(topics[0])
    await tail.watch([2])
    await log.publish([Outgoing(topics[0], b"k", b"%06d" % n + b"x" * 10_000, partition=2) for n in range(300)])
    assert [int(record.value[:6]) for record in await read(tail, 300)] == list(range(300))
    await tail.close()


async def test_a_missing_topic_is_said_at_once_by_everything_that_needs_it(log: KafkaLog, namespace: str) -> None:
    async def nothing(shards: Collection[int]) -> None:
        pass

    absent = f"{namespace}.absent.v1"
    began = time.monotonic()
    for attempt in (
        log.publish([Outgoing(absent, b"k", b"v")]),
        log.join([absent], namespace, on_assigned=nothing, on_revoked=nothing, instance=None),
        log.tasks([absent], namespace, instance=None),
        log.tail(absent),
        log.identity([absent]),
    ):
        with pytest.raises(TopicMissing, match=absent):
            await attempt
    assert time.monotonic() - began < 5


async def test_a_topic_with_another_number_of_partitions_is_refused(log: KafkaLog, topics: list[str]) -> None:
    with pytest.raises(ValueError, match=f"{topics[0]} has 16 partitions, not 32"):
        await log.install([Topic(topics[0], 32)])


async def test_where_no_broker_listens_everything_says_unreachable(namespace: str) -> None:
    log = KafkaLog("127.0.0.1:1", options={"request_timeout_ms": 1000})
    with pytest.raises(Unreachable, match="out of reach"):
        await log.open()
    with pytest.raises(Unreachable):
        await log.publish([Outgoing(f"{namespace}.a.v1", b"k", b"v")])
    with pytest.raises(Unreachable):
        await log.missing([Topic(f"{namespace}.a.v1", 1)])
    await log.close()


def test_an_unknown_option_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="sasl_mechanizm"):
        KafkaLog("127.0.0.1:1", options={"sasl_mechanizm": "PLAIN"})
