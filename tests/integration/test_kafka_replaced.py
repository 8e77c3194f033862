"""Topics of Kafka that are made anew while the group's committed progress stays, or while somebody reads on."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from holdfast.adapters.kafka.log import KafkaLog
from holdfast.adapters.kafka.progress import metadata
from holdfast.ports.log import Membership, Outgoing, Record, Tasks, Topic, TopicMissing, Unreachable
from tests.servers import Servers

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]


@pytest.fixture
async def log(servers: Servers) -> AsyncIterator[KafkaLog]:
    log = KafkaLog(servers.kafka)
    yield log
    await log.close()


@pytest.fixture
async def topic(log: KafkaLog, namespace: str) -> Topic:
    topic = Topic(f"{namespace}.tasks.default.v1", 1)
    await log.install([topic])
    return topic


class Committed:
    """The progress of a group, as a tool of Kafka's reads and sets it."""

    def __init__(self, servers: Servers, group: str, topic: str) -> None:
        self._client = Consumer({"bootstrap.servers": servers.kafka, "group.id": group, "enable.auto.commit": False})
        self._topic = topic

    async def read(self) -> tuple[int, str]:
        (place,) = await asyncio.to_thread(self._client.committed, [TopicPartition(self._topic, 0)], 10)
        return place.offset, place.metadata or ""

    async def write(self, offset: int, text: str) -> None:
        place = TopicPartition(self._topic, 0, offset, text)
        await asyncio.to_thread(lambda: self._client.commit(offsets=[place], asynchronous=False))


async def made_anew(servers: Servers, log: KafkaLog, topic: Topic) -> None:
    admin = AdminClient({"bootstrap.servers": servers.kafka})
    await asyncio.to_thread(admin.delete_topics([topic.name])[topic.name].result, 10)
    await log.install([topic])


async def published(log: KafkaLog, topic: Topic, values: Collection[bytes]) -> None:
    """Publish as the engine does: again while the log does not know the new topic yet."""
    began = time.monotonic()
    while True:
        try:
            return await log.publish([Outgoing(topic.name, b"k", value) for value in values])
        except (Unreachable, TopicMissing):
            assert time.monotonic() - began < 30
            await asyncio.sleep(0.1)


async def read(reader: Membership | Tasks, wanted: Collection[bytes], limit: float = 40.0) -> list[Record]:
    """Read until all of `wanted` have come."""
    records: list[Record] = []
    began = time.monotonic()
    while not set(wanted) <= {record.value for record in records}:
        assert time.monotonic() - began < limit, f"came: {[record.value for record in records]}"
        records += await reader.poll(0.2, 100)
    return records


async def on_change(shards: Collection[int]) -> None:
    """Nothing to take or to let go of."""


OLD = [b"old %d" % n for n in range(6)]
NEW = [b"new %d" % n for n in range(6)]


async def finished_out_of_order(log: KafkaLog, topic: Topic, group: str) -> None:
    """Finish all but two of the old tasks, and leave: 2 is the low watermark, 3 and 5 are finished above it."""
    await log.publish([Outgoing(topic.name, b"k", value) for value in OLD])
    worker = await log.tasks([topic.name], group, instance=None)
    for record in await read(worker, OLD):
        if record.offset not in {2, 4}:
            await worker.done(record)
    await worker.close()


async def test_a_new_worker_is_handed_all_tasks_of_a_new_log_whatever_was_finished_in_the_old_one(
    servers: Servers, log: KafkaLog, namespace: str, topic: Topic
) -> None:
    committed = Committed(servers, namespace, topic.name)
    await finished_out_of_order(log, topic, namespace)
    offset, text = await committed.read()
    assert (offset, bool(text)) == (2, True)

    await made_anew(servers, log, topic)
    await committed.write(offset, text)  # Kafka forgets it with a topic that is deleted, and not with one that is lost
    await published(log, topic, NEW)

    worker = await log.tasks([topic.name], namespace, instance=None)
    assert [record.value for record in await read(worker, NEW)] == NEW
    await worker.close()


async def test_what_an_older_release_committed_is_believed_up_to_its_offset(
    servers: Servers, log: KafkaLog, namespace: str, topic: Topic
) -> None:
    committed = Committed(servers, namespace, topic.name)
    await finished_out_of_order(log, topic, namespace)
    await committed.write(2, "1.AQEBAQ")  # 3 and 5 are finished, and no log is named

    worker = await log.tasks([topic.name], namespace, instance=None)
    assert [record.value for record in await read(worker, OLD[2:])] == OLD[2:]
    await worker.close()


async def test_a_worker_that_reads_on_is_handed_the_tasks_of_a_new_log_below_its_position(
    servers: Servers, log: KafkaLog, namespace: str, topic: Topic
) -> None:
    worker = await log.tasks([topic.name], namespace, instance=None)
    await log.publish([Outgoing(topic.name, b"k", value) for value in OLD[:2]])
    for record in await read(worker, OLD[:2]):
        await worker.done(record)
    worker.pause()

    await made_anew(servers, log, topic)
    await published(log, topic, NEW)  # more than it has read of the old one: its position is within the new log
    worker.resume()

    for record in await read(worker, NEW):
        await worker.done(record)
    await worker.close()
    ids = await log.identity([topic.name])
    assert await Committed(servers, namespace, topic.name).read() == (len(NEW), metadata(ids[topic.name], ""))


async def test_a_member_begins_a_new_log_at_its_beginning_whatever_was_acknowledged_of_the_old_one(
    servers: Servers, log: KafkaLog, namespace: str, topic: Topic
) -> None:
    committed = Committed(servers, namespace, topic.name)
    member = await log.join([topic.name], namespace, on_assigned=on_change, on_revoked=on_change, instance=None)
    await log.publish([Outgoing(topic.name, b"k", value) for value in OLD])
    await read(member, OLD)
    await member.acknowledge({(topic.name, 0): 4})
    await member.close()
    offset, text = await committed.read()
    assert offset == 4

    await made_anew(servers, log, topic)
    await committed.write(offset, text)
    await published(log, topic, NEW)

    heir = await log.join([topic.name], namespace, on_assigned=on_change, on_revoked=on_change, instance=None)
    assert [record.value for record in await read(heir, NEW)] == NEW
    await heir.close()
