"""A member of a consumer group, which outlives its client library's troubles.

Laws of this file:
- Kafka's eager protocol takes all partitions away at every rebalance and then gives out the new assignment. So `left`
  is told of all that was held, and `entered` of all that is held from now on, with what stays among it.
- `left` is awaited, and progress committed, before the group goes on: nobody else reads these partitions until then.
- `entered` runs beside the group's heartbeats. Nothing is handed out until it is done; a rebalance cancels it. What it
  raises is raised by the next `poll`, and then it is called again.
- Records that were fetched and not handed out are dropped at a rebalance: they are read again by whoever comes after.
  Nothing is taken from the client between a revocation and the moment when the owner of the next assignment is ready.
- Progress is committed about once a second, on leaving and on closing. It is a hint: a failure is not told to anybody.
- Progress names its log, and is taken up in that log only (`progress.py`): a partition whose progress is of another log
  is read from its earliest record on. What was read before a replaced log is noticed is committed as the old log's.
- An error that the client library cannot handle by itself costs the client, not the membership: a new one is started,
  for ever, with growing pauses and jitter.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.structs import TopicPartition

from holdfast.adapters.kafka.consumer import Consumer
from holdfast.adapters.kafka.errors import TROUBLE, at_the_edge
from holdfast.adapters.kafka.progress import Group as Known
from holdfast.adapters.kafka.progress import Progress, by_topic, metadata, progress_in
from holdfast.adapters.kafka.sessions import Limits
from holdfast.ports.log import Record, TopicMissing, Unreachable

SESSION = 6.0
HEARTBEAT = 1.0
"""A member learns of a rebalance with its next heartbeat: this is how long a takeover takes when one leaves."""
REBALANCE = 15.0
COMMIT_EVERY = 1.0
COMMIT_LIMIT = 5.0
STOP_LIMIT = 5.0
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
PAUSE = 0.2
SEEK_LIMIT = 10.0
ENOUGH_BYTES = 8 * 1024 * 1024
LIMITS = Limits(wait_ms=500, bytes=16 * 1024 * 1024, partition_bytes=2 * 1024 * 1024)
MARGIN = 0.25

Partitions = frozenset[TopicPartition]
Done = Mapping[TopicPartition, Progress]
Left = Callable[[Partitions], Awaitable[None]]
Entered = Callable[[Partitions, Done], Awaitable[None]]
"""All that is held from now on, and how far what was committed in its log says that it is done."""

_log = logging.getLogger(__name__)


def group_consumer(bootstrap: str, client_id: str, group: str, instance: str | None, **options: Any) -> Consumer:
    """Make a consumer as every group of ours uses it; it is not started."""
    return Consumer(
        LIMITS,
        bootstrap_servers=bootstrap,
        client_id=client_id,
        group_id=group,
        group_instance_id=instance,
        session_timeout_ms=int(SESSION * 1000),
        heartbeat_interval_ms=int(HEARTBEAT * 1000),
        rebalance_timeout_ms=int(REBALANCE * 1000),
        metadata_max_age_ms=5_000,  # topics made anew are found without a restart
        **options,
    )


class Group:
    """Reads topics as a member of a group."""

    def __init__(
        self,
        make: Callable[[], Consumer],
        topics: Sequence[str],
        known: Known,
        *,
        entered: Entered,
        left: Left,
        progress: Callable[[], Done],
        forget_progress: Callable[[], None],
    ) -> None:
        self._make = make
        self._topics = topics
        self._known = known
        self._entered = entered
        self._left = left
        self._progress = progress
        self._forget_progress = forget_progress
        self._consumer: Consumer | None = None
        self._held: Partitions = frozenset()
        self._logs: dict[TopicPartition, str] = {}
        self._ready = asyncio.Event()
        self._settling: asyncio.Task[None] | None = None
        self._taking: asyncio.Future[list[Record]] | None = None
        self._failure: BaseException | None = None
        self._buffer: deque[Record] = deque()
        self._bytes = 0
        self._committed: dict[TopicPartition, tuple[int, str]] = {}
        self._closed = False
        self._keeping: asyncio.Task[None] | None = None
        self._committing: asyncio.Task[None] | None = None

    @property
    def held(self) -> Partitions:
        return self._held

    def open(self) -> None:
        """Join, in the background."""
        loop = asyncio.get_running_loop()
        self._keeping = loop.create_task(self._keep())
        self._committing = loop.create_task(self._commit_regularly())

    async def close(self) -> None:
        """Commit and leave; `left` is not told: it is the owner who leaves."""
        self._closed = True
        self._ready.clear()
        for task in (self._keeping, self._committing, self._settling):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        await self._commit()
        self._held = frozenset()
        self._drop_all()
        consumer, self._consumer = self._consumer, None
        await _stop(consumer)

    async def poll(self, wait: float, limit: int) -> list[Record]:
        """Take records: at once if there are any, else within `wait` seconds.

        Raises:
            BaseException: what `entered` raised.
        """
        if self._failure is not None:
            failure, self._failure = self._failure, None
            self.assigned(self._held)  # to be tried again
            raise failure
        if not self._ready.is_set() and not await self._is_ready(wait):
            return []
        if self._bytes < ENOUGH_BYTES:
            await self._fetch(0 if self._buffer else wait)
        taken = [self._buffer.popleft() for _ in range(min(limit, len(self._buffer)))]
        for record in taken:
            self._bytes -= _size(record)
        return taken

    def forget(self, partitions: Partitions) -> None:
        """Drop what was fetched of some partitions and not handed out."""
        kept = [record for record in self._buffer if TopicPartition(record.topic, record.partition) not in partitions]
        self._drop_all()
        self._buffer.extend(kept)
        self._bytes = sum(map(_size, kept))

    def pause(self, partition: TopicPartition) -> None:
        """Fetch no more of a partition."""
        if self._consumer is not None and partition in self._held:
            self._consumer.pause(partition)

    def resume(self, partition: TopicPartition) -> None:
        """Fetch a paused partition again."""
        if self._consumer is not None and partition in self._held:
            self._consumer.resume(partition)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read a partition from an offset on."""
        self.forget(frozenset({partition}))
        if self._consumer is not None and partition in self._held:
            self._consumer.seek(partition, offset)

    async def rewind(self, partitions: Partitions) -> None:
        """Read partitions from their earliest records on, in the log that is there now.

        Raises:
            Unreachable: no broker answers.
            TopicMissing: a topic is not there.
        """
        logs = await self._known.ids(list(by_topic(partitions)))
        await self._to_the_beginning(partitions)
        # No await from here to the caller's next line: his old progress must not be committed under the new name.
        self._logs.update({where: logs[where.topic] for where in partitions & self._held})

    async def replaced(self) -> Partitions:
        """Tell which partitions are of another log than when their reading began.

        Raises:
            Unreachable: no broker answers.
            TopicMissing: a topic is not there.
        """
        logs = await self._known.ids(sorted({where.topic for where in self._logs}))
        return frozenset(where for where, log in self._logs.items() if logs.get(where.topic, log) != log)

    async def _to_the_beginning(self, partitions: Partitions) -> None:
        self.forget(partitions)
        consumer = self._consumer
        mine = partitions & self._held
        if consumer is not None and mine:
            with at_the_edge("rewinding"):
                async with asyncio.timeout(SEEK_LIMIT):
                    await consumer.seek_to_beginning(*mine)
            self.forget(partitions)

    async def _is_ready(self, wait: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._ready.wait()
        return self._ready.is_set()

    async def _fetch(self, wait: float) -> None:
        """Take all that the client has fetched: it asks for no more while a partition has something left."""
        consumer = self._consumer
        if consumer is None:
            return
        self._taking = taking = asyncio.ensure_future(consumer.take(wait))
        try:
            # The limit is for a rebalance, during which the client waits without one.
            async with asyncio.timeout(wait + MARGIN):
                fetched = await taking
        except TimeoutError:
            return
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return  # a rebalance has ended it
        except TROUBLE as error:
            if not self._closed and consumer is self._consumer:
                self._begin_again(error)
            return
        if consumer is not self._consumer or not self._ready.is_set():
            return
        self._buffer.extend(fetched)
        self._bytes += sum(map(_size, fetched))

    async def revoked(self) -> None:
        """Let go of everything: the listener's and our own call."""
        self._ready.clear()
        self._drop_all()
        self._failure = None
        # Going on, it would take records of the next assignment and drop them, since nobody is ready: they were lost.
        taking, self._taking = self._taking, None
        if taking is not None and not taking.done():
            taking.cancel()
            await asyncio.wait([taking])
        settling, self._settling = self._settling, None
        if settling is not None and not settling.done():
            settling.cancel()
            await asyncio.wait([settling])
        held = self._held
        if held and not self._closed:
            try:
                await self._left(held)
            except Exception:  # noqa: BLE001 - the group must go on, whatever the owner raised
                _log.exception("work that precedes a revocation failed; the shards are revoked all the same")
            await self._commit()
        self._held = frozenset()
        self._logs.clear()
        self._committed.clear()
        self._forget_progress()

    def assigned(self, partitions: Partitions) -> None:
        """Take over: the listener's call."""
        self._drop_all()
        self._failure = None
        self._held = partitions
        self._settling = asyncio.get_running_loop().create_task(self._settle(partitions))

    async def _settle(self, partitions: Partitions) -> None:
        try:
            await self._entered(partitions, await self._taken_up(partitions))
        except Exception as error:  # noqa: BLE001 - it is the owner's error, and is raised where the owner polls
            self._failure = error
        else:
            self._ready.set()

    async def _taken_up(self, partitions: Partitions) -> Done:
        """Learn how far partitions are done; one whose progress is of another log begins anew."""
        while partitions:
            try:
                asked = by_topic(partitions)
                committed = await self._known.committed(asked)
                logs = await self._known.ids(list(asked))  # after what is committed: a log made anew between is noticed
                done = {
                    TopicPartition(*place): progress_in(logs[place[0]], *commit) for place, commit in committed.items()
                }
                await self._to_the_beginning(frozenset(where for where, progress in done.items() if progress is None))
            except (Unreachable, TopicMissing):
                await asyncio.sleep(PAUSE)
                continue
            self._logs = {where: logs[where.topic] for where in partitions}
            return {where: progress for where, progress in done.items() if progress is not None}
        return {}

    def _begin_again(self, error: BaseException) -> None:
        """Replace the client, in the background: `left` may wait for the very loop that polls here."""
        _log.warning("Kafka: the client of the consumer group failed and is replaced: %r", error)
        consumer, self._consumer = self._consumer, None
        self._ready.clear()
        self._keeping = asyncio.get_running_loop().create_task(self._keep(consumer))

    async def _keep(self, old: Consumer | None = None) -> None:
        """Start a client, again and again until one stands."""
        if old is not None:
            await self.revoked()
            await _stop(old)
        pause = FIRST_PAUSE
        while not self._closed:
            consumer = self._consumer = self._make()
            consumer.subscribe(list(self._topics), listener=_Listener(self, consumer))
            try:
                await consumer.start()
                return
            except TROUBLE as error:
                _log.warning("Kafka: cannot join the group yet: %r", error)
                self._consumer = None
                await self.revoked()
                await _stop(consumer)
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _commit_regularly(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_EVERY)
            await self._commit()

    async def _commit(self) -> None:
        consumer = self._consumer
        if consumer is None or not self._held:
            return
        progress = {
            where: (done.offset, metadata(self._logs[where], done.finished))
            for where, done in self._progress().items()
            if where in self._held and where in self._logs
        }
        news = {where: commit for where, commit in progress.items() if self._committed.get(where) != commit}
        if not news:
            return
        try:
            async with asyncio.timeout(COMMIT_LIMIT):
                await consumer.commit(news)
        except TROUBLE as error:
            _log.debug("Kafka: progress was not committed, which costs a repetition at most: %r", error)
        else:
            self._committed.update(news)

    def _drop_all(self) -> None:
        self._buffer.clear()
        self._bytes = 0

    def serves(self, consumer: Consumer) -> bool:
        """Whether `consumer` is the present client: an old one may still call its listener."""
        return consumer is self._consumer


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    def __init__(self, group: Group, consumer: Consumer) -> None:
        self._group = group
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        if self._group.serves(self._consumer):
            await self._group.revoked()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._consumer.entered(assigned)
        if self._group.serves(self._consumer):
            self._group.assigned(frozenset(assigned))


_stopping: set[asyncio.Task[None]] = set()


async def _stop(consumer: Consumer | None) -> None:
    """Stop a client; one that hangs in a rebalance is left to end by itself."""
    if consumer is None:
        return
    task = asyncio.get_running_loop().create_task(_stopped(consumer))
    _stopping.add(task)
    task.add_done_callback(_stopping.discard)
    await asyncio.wait([task], timeout=STOP_LIMIT)


async def _stopped(consumer: Consumer) -> None:
    with suppress(*TROUBLE):
        await consumer.stop()


def _size(record: Record) -> int:
    return 100 + len(record.value)
