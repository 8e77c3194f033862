"""Fetching: asks the leaders of a consumer's partitions for records, one question at a time each.

Laws of this file:
- A leader is asked again only when all that was fetched has been taken: what waits is bounded by one answer of each.
- Records count only if their partition is still at the offset that was asked for: a seek, a pause or another assignment
  while a question is under way makes its answer void. A position moves when records are taken, not before.
- While positions are being looked up at a leader it is not asked: an answer would be waited for
  with half of the question.
- A partition that a leader refuses rests a moment, and the others go on.
"""

import asyncio
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiokafka import errors
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from holdfast.adapters.kafka.errors import TROUBLE
from holdfast.adapters.kafka.metadata import NO_LEADER
from holdfast.adapters.kafka.sessions import Limits, Part, Session, read_answer
from holdfast.ports.log import Record

CONNECTION = "fetching"
"""A connection of their own: nothing else waits behind a question that is answered when there are records."""
REST = 0.1
LOOK_AGAIN = 0.02
LOST_SESSION = {errors.FetchSessionIdNotFound.errno, errors.InvalidFetchSessionEpoch.errno}


class Fetched:
    """The records of one partition from one offset on, and where to read on."""

    __slots__ = ("assignment", "next", "offset", "records", "where")

    def __init__(self, assignment: Any, where: TopicPartition, offset: int) -> None:
        self.assignment = assignment
        self.where = where
        self.offset = offset
        self.records: list[Record] = []
        self.next = offset

    def read(self, batches: bytes) -> None:
        """Unpack batches; control batches are passed over.

        Raises:
            KafkaError: they are damaged, or compressed in a way that is not installed.
        """
        topic, partition = self.where
        memory = MemoryRecords(batches)
        while memory.has_next():
            batch = memory.next_batch()
            if not batch.validate_crc():
                raise errors.CorruptRecordException(f"{topic}, partition {partition}: records are damaged")
            if not batch.is_control_batch:
                self.records += [
                    Record(topic, partition, r.offset, r.key, r.value or b"", tuple(r.headers), r.timestamp)
                    for r in batch
                    if r.offset >= self.offset  # a batch comes whole, also when its middle was asked for
                ]
            self.next = max(self.next, batch.next_offset)


class Fetcher:
    """Fetches for the assignment of `subscription`; `reset` has a position looked up that no longer exists."""

    def __init__(
        self, client: Any, subscription: Any, limits: Limits, reset: Callable[[TopicPartition], object]
    ) -> None:
        self._client = client
        self._subscription = subscription
        self._limits = limits
        self._reset = reset
        self._sessions: dict[int, Session] = {}
        self._asking: dict[int, asyncio.Task[None]] = {}
        self._looking_up: set[int] = set()
        self._paused: tuple[Any, set[TopicPartition]] = (None, set())
        self._resting: dict[TopicPartition, float] = {}
        self._ready: list[Fetched] = []
        self._failure: BaseException | None = None
        self._arrival: asyncio.Future[None] | None = None
        self._taken = asyncio.Event()
        self._taken.set()
        self._stirred = asyncio.Event()
        self._planning = asyncio.get_running_loop().create_task(self._plan_for_ever())
        client.cluster.add_listener(self._on_metadata)

    async def close(self) -> None:
        """Stop asking."""
        self._client.cluster.remove_listener(self._on_metadata)
        self._planning.cancel()
        await asyncio.wait([self._planning])  # first, for it starts the others
        if self._asking:
            for task in self._asking.values():
                task.cancel()
            await asyncio.wait(self._asking.values())
        self._wake()

    def stir(self) -> None:
        """Look again at what is assigned, and at which positions."""
        self._stirred.set()

    def pause(self, where: TopicPartition) -> None:
        """Fetch no more of a partition, for this assignment."""
        assignment = _assignment(self._subscription)
        if self._paused[0] is not assignment:
            self._paused = (assignment, set())
        self._paused[1].add(where)
        self.stir()

    def resume(self, where: TopicPartition) -> None:
        """Fetch a paused partition again."""
        self._paused[1].discard(where)
        self.stir()

    async def take(self, wait: float) -> list[Record]:
        """Take all that is there; wait for it up to `wait` seconds.

        Raises:
            KafkaError: a partition cannot be read.
        """
        if wait > 0 and not self._ready and self._failure is None:
            self._arrival = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._arrival], timeout=wait)
            self._arrival = None
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if self._planning.done():
            raise errors.ConsumerStoppedError
        taken: list[Record] = []
        for fetched in self._ready:
            if self._accept(fetched):
                taken += fetched.records
        if self._ready:
            self._ready = []
            self._taken.set()
        return taken

    def _accept(self, fetched: Fetched) -> bool:
        """Move a position over what was fetched, if it is still where it was."""
        if fetched.assignment is not _assignment(self._subscription):
            return False
        state = _readable(fetched.assignment, fetched.where)
        if state is None or state.position != fetched.offset or self._is_paused(fetched.assignment, fetched.where):
            return False
        state.consumed_to(fetched.next)
        for session in self._sessions.values():  # the leader may be another by now
            session.move(fetched.where, fetched.next)
        return True

    def _is_paused(self, assignment: Any, where: TopicPartition) -> bool:
        return self._paused[0] is assignment and where in self._paused[1]

    async def _plan_for_ever(self) -> None:
        while True:
            self._stirred.clear()
            settled = self._plan()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if settled else LOOK_AGAIN):
                    await self._stirred.wait()

    def _plan(self) -> bool:
        """Tell every leader's session what to read, and start asking; false if something is not known yet."""
        loop = asyncio.get_running_loop()
        assignment = _assignment(self._subscription)
        self._resting = {where: until for where, until in self._resting.items() if until > loop.time()}
        wanted: dict[int, dict[TopicPartition, int]] = {}
        self._looking_up = set()
        settled = not self._resting
        for where in assignment.tps if assignment is not None else ():
            if where in self._resting or self._is_paused(assignment, where):
                continue
            leader = self._client.cluster.leader_for_partition(where)
            state = _readable(assignment, where)
            if leader is None or leader == NO_LEADER:
                self._rest(where)
                settled = False
            elif state is None:
                self._looking_up.add(leader)
                settled = False
            else:
                wanted.setdefault(leader, {})[where] = state.position
        for leader in wanted.keys() - self._sessions.keys():
            self._sessions[leader] = Session(self._limits)
        for leader, session in self._sessions.items():
            session.want(wanted.get(leader, {}))
            if self._is_open(leader, session) and leader not in self._asking:
                self._asking[leader] = loop.create_task(self._ask(leader, session))
        return settled

    def _rest(self, where: TopicPartition) -> None:
        """Leave a partition alone for a moment, and find out who leads it."""
        self._resting[where] = asyncio.get_running_loop().time() + REST
        self._client.force_metadata_update()
        self.stir()

    def _is_open(self, leader: int, session: Session) -> bool:
        return bool(session.wanted) and leader not in self._looking_up

    async def _ask(self, leader: int, session: Session) -> None:
        """Ask one leader, again and again as long as anything is wanted of it."""
        try:
            while self._is_open(leader, session):
                try:
                    self._read(session, await self._client.send(leader, session.request(), group=CONNECTION))
                except (*TROUBLE, struct.error):
                    session.begin_again()
                    await asyncio.sleep(REST)
                await self._taken.wait()
        finally:
            del self._asking[leader]
            self.stir()

    def _read(self, session: Session, data: bytes) -> None:
        """Keep what an answer brings."""
        answer = read_answer(data)
        if answer.code in LOST_SESSION:
            session.begin_again()
            return
        if answer.code:
            raise errors.for_code(answer.code)
        session.answered(answer.session)
        assignment = _assignment(self._subscription)
        if assignment is None:
            session.want({})  # what is assigned next is planned then
            return
        for part in answer.parts:
            offset = session.told.get(part.where)
            state = _readable(assignment, part.where)
            if offset is None or state is None or state.position != offset:
                self.stir()
            elif part.code:
                self._refused(part)
            elif part.batches:
                self._keep(Fetched(assignment, part.where, offset), part.batches)
        if self._ready:
            self._taken.clear()
            self._wake()

    def _keep(self, fetched: Fetched, batches: bytes) -> None:
        try:
            fetched.read(batches)
        except errors.KafkaError as error:
            self._fail(fetched.where, error)
            return
        except Exception as error:  # noqa: BLE001 - damaged bytes may raise anything; who takes records hears of it
            self._fail(fetched.where, errors.CorruptRecordException(f"{fetched.where}: {error!r}"))
            return
        if fetched.records:
            self._ready.append(fetched)
        elif fetched.next > fetched.offset:
            self._accept(fetched)

    def _refused(self, part: Part) -> None:
        """A leader does not give out a partition's records."""
        error = errors.for_code(part.code)
        if error is errors.OffsetOutOfRangeError:
            self._reset(part.where)
            self.stir()
        elif error is errors.TopicAuthorizationFailedError:
            self._fail(part.where, error(part.where.topic))
        else:
            self._rest(part.where)

    def _fail(self, where: TopicPartition, error: BaseException) -> None:
        self._failure = error
        self._rest(where)
        self._wake()

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def _on_metadata(self, _cluster: Any) -> None:
        self.stir()


def _assignment(subscription: Any) -> Any:
    """The assignment that is in force, if any: none while a rebalance is under way."""
    if subscription.subscription is None or subscription.reassignment_in_progress:
        return None
    assignment = subscription.subscription.assignment
    return assignment if assignment is not None and assignment.active else None


def _readable(assignment: Any, where: TopicPartition) -> Any:
    """The state of a partition that is assigned and whose position is known."""
    state = assignment.state_value(where)
    return state if state is not None and state.has_valid_position else None
