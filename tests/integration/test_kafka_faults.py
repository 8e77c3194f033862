"""The log on Kafka when the broker goes away, or comes back with nothing."""

import asyncio
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop
from confluent_kafka.admin import AdminClient

from examples.demo import servers as behind
from holdfast.adapters.kafka.log import KafkaLog
from holdfast.adapters.kafka.membership import KafkaMembership
from holdfast.ports.log import Outgoing, Record, Tail, Topic, TopicMissing, Unreachable
from tests.chaos.proxy import Link
from tests.servers import Servers

pytestmark = [pytest.mark.servers, pytest.mark.chaos, pytest.mark.timeout(180)]


async def published(log: KafkaLog, records: Sequence[Outgoing], limit: float = 60.0) -> None:
    """Publish as the engine does: again and again while it cannot be done."""
    began = time.monotonic()
    while True:
        try:
            return await log.publish(records)
        except (Unreachable, TopicMissing):
            assert time.monotonic() - began < limit
            await asyncio.sleep(0.1)


async def values(reader: KafkaMembership | Tail, wanted: set[bytes], limit: float = 60.0) -> list[Record]:
    """Read until all of `wanted` have come, maybe more than once."""
    records: list[Record] = []
    began = time.monotonic()
    while not wanted <= {record.value for record in records}:
        assert time.monotonic() - began < limit, f"came: {[record.value for record in records]}"
        records += await reader.poll(0.2, 100)
    return records


async def on_change(shards: Collection[int]) -> None:
    """Nothing to take or to let go of."""


async def test_a_killed_broker_that_comes_back_is_published_to_and_read_from_again(
    own_servers: Servers, namespace: str
) -> None:
    log = KafkaLog(own_servers.kafka, options={"request_timeout_ms": 3000})
    topic = Topic(f"{namespace}.commands.v1", 4)
    await log.install([topic])
    member = await log.join([topic.name], namespace, on_assigned=on_change, on_revoked=on_change, instance=None)
    tail = await log.tail(topic.name)
    await tail.watch(range(4))
    await log.publish([Outgoing(topic.name, b"k", b"before")])
    await values(member, {b"before"})

    await asyncio.to_thread(own_servers.kill, "kafka")
    with pytest.raises(Unreachable):
        await log.publish([Outgoing(topic.name, b"k", b"meanwhile")])
    assert await member.poll(0.1, 10) == []
    waiting = asyncio.create_task(published(log, [Outgoing(topic.name, b"k", b"%d" % n) for n in range(5)]))
    await asyncio.to_thread(own_servers.start, "kafka")

    await waiting
    after = {b"%d" % n for n in range(5)}
    await values(member, after)
    await values(tail, after)
    await tail.close()
    await member.close()
    await log.close()


async def test_a_broker_that_lost_everything_is_a_new_log_read_from_its_beginning(
    own_servers: Servers, namespace: str
) -> None:
    log = KafkaLog(own_servers.kafka, options={"request_timeout_ms": 3000})
    topic = Topic(f"{namespace}.commands.v1", 4)
    await log.install([topic])
    before = await log.identity([topic.name])
    member = await log.join([topic.name], namespace, on_assigned=on_change, on_revoked=on_change, instance=None)
    await log.publish([Outgoing(topic.name, b"k", b"old %d" % n, partition=2) for n in range(100)])
    await values(member, {b"old 99"})
    await member.acknowledge({(topic.name, 2): 100})

    await asyncio.to_thread(own_servers.wipe, "kafka")
    await asyncio.to_thread(own_servers.start, "kafka")
    with pytest.raises((TopicMissing, Unreachable)):
        await log.publish([Outgoing(topic.name, b"k", b"too early", partition=2)])
    await log.install([topic])
    # As many as the old log had for its producer: none of them may pass for a duplicate of those.
    fresh = [Outgoing(topic.name, b"k", b"new %d" % n, partition=2) for n in range(20)]
    for record in fresh:
        await published(log, [record])

    after = await log.identity([topic.name])
    assert after["cluster"] != before["cluster"]
    assert after[topic.name] != before[topic.name]
    records = await values(member, {record.value for record in fresh})
    assert [r.value for r in records if r.value.startswith(b"new")][:20] == [record.value for record in fresh]
    await member.close()
    await log.close()


async def test_a_topic_made_anew_has_another_id_and_is_read_from_its_beginning(
    own_servers: Servers, namespace: str
) -> None:
    log = KafkaLog(own_servers.kafka)
    topic = Topic(f"{namespace}.commands.v1", 2)
    await log.install([topic])
    before = await log.identity([topic.name])
    member = await log.join([topic.name], namespace, on_assigned=on_change, on_revoked=on_change, instance=None)
    await log.publish([Outgoing(topic.name, b"k", b"old %d" % n, partition=1) for n in range(50)])
    await values(member, {b"old 49"})

    admin = AdminClient({"bootstrap.servers": own_servers.kafka})
    await asyncio.to_thread(admin.delete_topics([topic.name])[topic.name].result, 10)
    await log.install([topic])
    assert (await log.identity([topic.name]))[topic.name] != before[topic.name]
    await published(log, [Outgoing(topic.name, b"k", b"new", partition=1)])

    await values(member, {b"new"})
    await member.close()
    await log.close()


def test_a_connection_that_ends_right_before_a_question_is_an_unreachable_log_at_worst(tmp_path: Path) -> None:
    async def story() -> None:
        broker = behind.Servers(tmp_path, proxies=1)
        await broker.start("kafka")
        try:
            async with Link("log-kafka", broker.port("kafka", "behind1"), broker.port("kafka", "proxy1")) as link:
                log = KafkaLog(f"127.0.0.1:{link.port}")
                await log.install([Topic("commands", 1)])
                for turns_of_the_loop in range(4):
                    await cut_and_ask(log, link, turns_of_the_loop)
                await log.close()
        finally:
            await broker.wipe()

    async def cut_and_ask(log: KafkaLog, link: Link, turns: int) -> None:
        await log.identity(["commands"])
        client: Any = log._client  # noqa: SLF001 - to see the very moment at which its connection ends
        transports = [conn._writer.transport for conn in client._conns.values()]  # noqa: SLF001 - as above
        link.cut()
        while not any(transport.is_closing() for transport in transports):
            await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        with suppress(Unreachable):
            await log.identity(["commands"])
        async with asyncio.timeout(20):
            await published(log, [Outgoing("commands", b"k", b"v")])

    uvloop.run(story())  # the loop of the services
