"""Publishing: the hot path.

Laws of this file:
- Calls that come while a round is under way are sent together in the next one; a round is over when all its records are
  settled. So a partition's records keep the order of the calls, and a broker has one request of ours at a time.
- A round sends one batch a partition and one request a broker, acknowledged by all in-sync replicas, with sequence
  numbers, so that a batch that is sent again over the same connection is written once.
- A producer id ends with the connection it was used on, and with a round that failed. Brokers give out ids anew when
  their data is gone: a batch under an old id could pass for a duplicate of another producer's, be acknowledged and
  lost. What was under way is sent again under a new id: it may be there twice, it is never swallowed.
- aiokafka's own producer is not used: it does not let go of an id, does not end its tries, and waits 40 s for a topic
  that does not exist.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress

from aiokafka import errors
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from holdfast.adapters.kafka.connection import Client
from holdfast.adapters.kafka.errors import NEW_PRODUCER, TOO_LARGE, TROUBLE, missing
from holdfast.adapters.kafka.lanes import Call, Lane, Lanes
from holdfast.adapters.kafka.metadata import NO_LEADER, Described
from holdfast.adapters.kafka.requests import produce, produced
from holdfast.ports.log import Outgoing, Unreachable

MAX_BATCH = 512 * 1024
MAX_REQUEST = 16 * 1024 * 1024
MAX_ROUND = 4096
BACKOFF = 0.1
GRACE = 1.0
"""How long a topic must be missing before we say so: a broker that has just started may not know it yet."""

_FOR_EVER = 2**31 - 1

Batch = tuple[Lane, int, bytes]
Verdict = tuple[Lane, int, int]


class Publisher:
    """Publishes what it is given, in order; `connect` makes a client when there is none."""

    def __init__(self, connect: Callable[[], Awaitable[Client]], timeout: float) -> None:
        self._connect = connect
        self._timeout = timeout
        self._waiting: list[Call] = []
        self._running: asyncio.Task[None] | None = None
        self._client: Client | None = None
        self._topics: dict[str, Described] = {}
        self._producer: tuple[int, int] | None = None
        self._sequences: dict[Lane, int] = {}
        self._breaks = 0

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """Publish `records`; see `Log.publish`."""
        if not records:
            return
        loop = asyncio.get_running_loop()
        call = Call(records, loop.create_future())
        self._waiting.append(call)
        if self._running is None:
            self._running = loop.create_task(self._serve())
        await call.done

    async def close(self) -> None:
        """Finish what is under way and disconnect."""
        running = self._running
        if running is not None:
            await asyncio.wait([running], timeout=self._timeout)
            running.cancel()
            await asyncio.wait([running])
        await self._disconnect()

    async def _serve(self) -> None:
        """Take rounds as long as calls wait."""
        try:
            while self._waiting:
                await self._round(Lanes(self._taken()))
        finally:
            self._running = None
            for call in self._waiting:
                call.fail(Unreachable("the log was closed"))
            self._waiting.clear()

    def _taken(self) -> list[Call]:
        taken, size = 0, 0
        for call in self._waiting:
            if taken and size + len(call.records) > MAX_ROUND:
                break
            taken += 1
            size += len(call.records)
        calls, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return calls

    async def _round(self, lanes: Lanes) -> None:
        """Settle every record: acknowledged, refused, or out of time."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        last: BaseException | None = None
        try:
            while lanes and loop.time() < began + self._timeout:
                try:
                    async with asyncio.timeout_at(began + self._timeout):
                        hindered = await self._attempt(lanes, patient=loop.time() < began + GRACE)
                except TROUBLE as error:
                    hindered = error
                    self._producer = None
                if hindered is not None:
                    last = hindered
                    self._topics = {}  # their leaders may be others by now
                    await asyncio.sleep(BACKOFF)
        except asyncio.CancelledError:
            lanes.fail(Unreachable("the log was closed"))
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers of this round must hear of it
            lanes.fail(error)
            self._producer = None
        if lanes:
            lanes.fail(Unreachable(f"Kafka did not take the records within {self._timeout:g} s: {last!r}"))
            await self._disconnect()

    async def _attempt(self, lanes: Lanes, *, patient: bool) -> BaseException | None:
        """Send the next batch of every lane; returns what hindered any of them."""
        client = await self._ready(lanes.topics())
        if not patient:
            for topic in lanes.topics() - self._topics.keys():
                lanes.drop(topic, missing(topic))
        lanes.place(self._topics)
        by_leader, hindered = self._batches(lanes)
        for answer in await self._sent(client, by_leader):
            if isinstance(answer, BaseException):
                self._producer = None
                hindered = answer
                continue
            for lane, count, code in answer:
                hindered = self._settle(lanes, lane, count, code) or hindered
        return hindered

    async def _sent(self, client: Client, by_leader: Mapping[int, list[Batch]]) -> list[list[Verdict] | BaseException]:
        """Send a request to each leader, and give what came of each."""
        if len(by_leader) == 1:  # the usual case, without a task of its own
            ((leader, batches),) = by_leader.items()
            try:
                return [await self._send(client, leader, batches)]
            except Exception as error:  # noqa: BLE001 - as with several: whatever it is, these are sent again
                return [error]
        sending = (self._send(client, leader, batches) for leader, batches in by_leader.items())
        return await asyncio.gather(*sending, return_exceptions=True)

    async def _ready(self, topics: AbstractSet[str]) -> Client:
        """See to a client, a producer id of this connection, and the topics' leaders."""
        if self._client is None:
            self._client = await self._connect()
            self._producer = None
        client = self._client
        if self._producer is None or client.breaks != self._breaks:
            self._breaks = client.breaks
            self._producer = None
            answer = await client.send(client.get_random_node(), InitProducerIdRequest(None, _FOR_EVER))
            error = errors.for_code(answer.error_code)
            if error is not errors.NoError:
                raise error
            self._producer = (answer.producer_id, answer.producer_epoch)
            self._sequences = {}
        if topics - self._topics.keys():
            _cluster, self._topics = await client.describe(self._topics.keys() | topics)
        return client

    def _batches(self, lanes: Lanes) -> tuple[dict[int, list[Batch]], BaseException | None]:
        """Build the next batch of every lane, by the broker that leads its partition."""
        by_leader: dict[int, list[Batch]] = {}
        hindered: BaseException | None = None if lanes.all_placed else errors.UnknownTopicOrPartitionError()
        producer, epoch = self._producer or (-1, -1)
        now, size = int(time.time() * 1000), 0
        for lane, waiting in lanes.lanes.items():
            described = self._topics.get(lane[0])
            leader = NO_LEADER if described is None else described.leaders[lane[1]]
            if leader == NO_LEADER:
                hindered = errors.LeaderNotAvailableError(*lane)
                continue
            limit = 0 if lane in lanes.alone else MAX_BATCH  # a batch takes its first record whatever the limit
            builder = DefaultRecordBatchBuilder(2, 0, 0, producer, epoch, self._sequences.get(lane, 0), limit)
            count = 0
            for call, index in waiting:
                record = call.records[index]
                if builder.append(count, now, record.key, record.value, list(record.headers)) is None:
                    break
                count += 1
            data = builder.build()
            by_leader.setdefault(leader, []).append((lane, count, data))
            size += len(data)
            if size > MAX_REQUEST:
                break
        return by_leader, hindered

    async def _send(self, client: Client, leader: int, batches: Sequence[Batch]) -> list[Verdict]:
        """Send one request; tells of each batch its lane, its number of records, and the broker's verdict."""
        counts = {lane: count for lane, count, _data in batches}
        request = produce(((*lane, data) for lane, _count, data in batches), int(self._timeout * 1000))
        return [(lane, counts[lane], code) for lane, code in produced(await client.send(leader, request))]

    def _settle(self, lanes: Lanes, lane: Lane, count: int, code: int) -> BaseException | None:
        """Act on a verdict; returns it if the batch is to be sent again."""
        error: type[errors.KafkaError] = errors.for_code(code) if code else errors.NoError
        if error in {errors.NoError, errors.DuplicateSequenceNumber}:  # the second: sent twice over one connection
            self._sequences[lane] = self._sequences.get(lane, 0) + count
            lanes.acknowledged(lane, count)
            return None
        if issubclass(error, TOO_LARGE):
            lanes.too_large(lane, count)
            return None
        trouble: BaseException = error(*lane)
        unknown = isinstance(trouble, NEW_PRODUCER)
        if unknown:
            self._producer = None
        if unknown or error.retriable:
            return trouble
        lanes.refused(lane, count, Unreachable(f"Kafka refuses a record for {lane[0]}: {error.__name__}"))
        return None

    async def _disconnect(self) -> None:
        client, self._client, self._producer = self._client, None, None
        if client is not None:
            with suppress(*TROUBLE):
                await client.close()
