"""Reading from a real Kafka what a stranger has published: every compression, while partitions come and go."""

import asyncio
import os
from collections.abc import AsyncIterator, Collection

import confluent_kafka
import pytest

from holdfast.adapters.kafka.log import KafkaLog
from holdfast.adapters.kafka.membership import KafkaMembership
from holdfast.ports.log import Membership, Record, Tail, Topic
from tests.servers import Servers

pytestmark = pytest.mark.servers

SHARDS = 4
COUNT = 60
LIMIT = 30.0
COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")


@pytest.fixture
async def log(servers: Servers) -> AsyncIterator[KafkaLog]:
    log = KafkaLog(servers.kafka)
    await log.open()
    yield log
    await log.close()


@pytest.fixture
async def topic(log: KafkaLog, namespace: str) -> str:
    name = f"{namespace}.commands.v1"
    await log.install([Topic(name, SHARDS)])
    return name


async def joined(log: KafkaLog, topic: str, group: str) -> KafkaMembership:
    async def nothing(shards: Collection[int]) -> None:
        pass

    return await log.join([topic], group, on_assigned=nothing, on_revoked=nothing, instance=None)


async def read(reader: Tail | Membership, count: int) -> list[Record]:
    """Read until at least `count` records have come."""
    records: list[Record] = []
    async with asyncio.timeout(LIMIT):
        while len(records) < count:
            records += await reader.poll(0.2, 256)
    return records


def value(shard: int, number: int) -> bytes:
    """Half of it can be compressed and half of it cannot."""
    return b"%d/%d " % (shard, number) + b"again and " * 40 + os.urandom(400)


Values = dict[int, list[bytes]]


def produced(servers: Servers, topic: str, compression: str, count: int = COUNT) -> Values:
    """What a stranger's producer has published, by shard."""
    values: Values = {shard: [value(shard, n) for n in range(count)] for shard in range(SHARDS)}
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": servers.kafka, "compression.type": compression, "linger.ms": 20, "log_level": 0}
    )
    for n in range(count):
        for shard in range(SHARDS):
            producer.produce(
                topic, key=b"key %d" % n, value=values[shard][n], partition=shard, headers=[("n", b"%d" % n)]
            )
    assert producer.flush(LIMIT) == 0
    return values


def by_shard(records: Collection[Record]) -> Values:
    found: Values = {}
    for record in records:
        found.setdefault(record.partition, []).append(record.value)
    return found


@pytest.mark.parametrize("compression", COMPRESSIONS)
async def test_records_of_every_compression_come_out_as_they_went_in(
    log: KafkaLog, servers: Servers, topic: str, namespace: str, compression: str
) -> None:
    tail = await log.tail(topic)
    await tail.watch(range(SHARDS))
    member = await joined(log, topic, namespace)
    values = await asyncio.to_thread(produced, servers, topic, compression)

    for reader in (member, tail):
        records = await read(reader, SHARDS * COUNT)
        assert by_shard(records) == values
        for record in records:
            assert record.topic == topic
            assert record.key == b"key %d" % record.offset
            assert record.headers == (("n", b"%d" % record.offset),)
        await reader.close()


async def test_one_partition_with_batches_of_every_compression_is_read_in_order(
    log: KafkaLog, servers: Servers, topic: str
) -> None:
    tail = await log.tail(topic, earliest=True)
    values: Values = {shard: [] for shard in range(SHARDS)}
    for compression in COMPRESSIONS:
        for shard, more in (await asyncio.to_thread(produced, servers, topic, compression, 10)).items():
            values[shard] += more
    await tail.watch(range(SHARDS))

    records = await read(tail, SHARDS * 10 * len(COMPRESSIONS))

    assert by_shard(records) == values
    await tail.close()


async def test_a_tail_that_watches_more_while_a_poll_is_outstanding_hears_both(
    log: KafkaLog, servers: Servers, topic: str
) -> None:
    tail = await log.tail(topic)
    await tail.watch([0])
    outstanding = asyncio.create_task(tail.poll(LIMIT, 1))
    done, _ = await asyncio.wait([outstanding], timeout=0.3)
    assert not done, "there is nothing to hear yet"

    await tail.watch([1])
    values = await asyncio.to_thread(produced, servers, topic, "none")

    async with asyncio.timeout(LIMIT):
        records = await outstanding
    assert len(records) == 1
    records += await read(tail, 2 * COUNT - 1)
    assert by_shard(records) == {0: values[0], 1: values[1]}
    assert await tail.poll(0.3, 1) == []
    await tail.close()


async def test_a_tail_that_watches_more_repeats_and_skips_nothing_of_what_it_watched(
    log: KafkaLog, servers: Servers, topic: str
) -> None:
    tail = await log.tail(topic, earliest=True)
    values = await asyncio.to_thread(produced, servers, topic, "lz4")
    records: list[Record] = []
    for shard in range(SHARDS):
        await tail.watch([shard])
        records += await tail.poll(1.0, 25)

    records += await read(tail, SHARDS * COUNT - len(records))

    assert by_shard(records) == values
    await tail.close()


async def test_rewinding_hands_everything_out_again_and_other_shards_go_on(
    log: KafkaLog, servers: Servers, topic: str, namespace: str
) -> None:
    member = await joined(log, topic, namespace)
    first = await asyncio.to_thread(produced, servers, topic, "zstd")
    assert by_shard(await read(member, SHARDS * COUNT)) == first

    await member.rewind(range(SHARDS))
    assert by_shard(await read(member, SHARDS * COUNT)) == first

    await member.rewind([2])
    second = await asyncio.to_thread(produced, servers, topic, "snappy")
    expected = {shard: first[shard] + second[shard] if shard == 2 else second[shard] for shard in range(SHARDS)}
    assert by_shard(await read(member, (SHARDS + 1) * COUNT)) == expected
    assert await member.poll(0.3, 1) == []
    await member.close()


async def test_rewinding_in_the_middle_begins_again_at_the_first_record(
    log: KafkaLog, servers: Servers, topic: str, namespace: str
) -> None:
    member = await joined(log, topic, namespace)
    values = await asyncio.to_thread(produced, servers, topic, "gzip")
    async with asyncio.timeout(LIMIT):
        while not await member.poll(0.2, 7):
            pass

    await member.rewind(range(SHARDS))

    assert by_shard(await read(member, SHARDS * COUNT)) == values
    assert await member.poll(0.3, 1) == []
    await member.close()
