"""Reading the simulated log: as the engine, as a worker, as a client who waits.

Laws of this file:
- A reader reads on from the position it has, in whatever log is there: records of a new log below it are never seen,
  unless somebody rewinds; a position beyond the end begins anew.
- Partitions are mixed in any order; each keeps its own.
- Progress reaches the group a moment later, and is lost with its process. It names its log; in another log it is none.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from holdfast.ports.log import OnAssigned, OnRevoked, Record, Unreachable
from tests.simulation.broker import Broker
from tests.simulation.faults import KILL, PAUSE, REFUSED, REWIND, SLOW
from tests.simulation.groups import Group, Place, Progress
from tests.simulation.wire import NEAR, Wire

POLLED = (KILL, PAUSE, REFUSED, SLOW)
POLLED_AT_WILL = (*POLLED, REWIND)
COMMIT_AFTER = 0.8
LOOK_EVERY = 10.0


class Partitions:
    """A reader's way through some partitions; while it is not `open` nothing is handed out.

    `faults` are those that its polls may meet.
    """

    def __init__(self, broker: Broker, wire: Wire, topics: Collection[str], faults: Sequence[str] = POLLED) -> None:
        self.positions: dict[Place, int] = {}
        self.open = False
        self.hurry = False
        self._broker = broker
        self._wire = wire
        self._topics = list(topics)
        self._kinds = faults
        self._woken: asyncio.Future[None] | None = None
        self._moves = 0
        self._loop = asyncio.get_running_loop()
        broker.listen(self._topics, self.wake)

    def close(self) -> None:
        self.move({})
        self._broker.hush(self._topics, self.wake)
        self.wake()

    def move(self, positions: dict[Place, int]) -> None:
        """Read from here on; what was taken and not handed out yet is dropped."""
        self._moves += 1
        self.positions = positions

    def wake(self) -> None:
        """Let a waiting poll look again."""
        woken = self._woken
        if woken is not None and not woken.done():
            woken.set_result(None)

    async def poll(self, wait: float, limit: int) -> list[Record]:
        """Give records: at once if there are any, else within `wait` seconds."""
        until = self._loop.time() + wait
        while not self.hurry:
            if self.open and (taken := self._read(limit)):
                return await self._handed_out(taken)
            if not await self._wait(until):
                break
            await self._wire.pass_time(self._wire.chance.random() * NEAR)
        return []

    def _read(self, limit: int) -> list[Record]:
        ready: list[tuple[Place, list[Record], int]] = []
        for place, position in self.positions.items():
            topic = self._broker.partitions.get(place[0])
            if topic is None:
                continue
            records = topic[place[1]]
            start = position if position <= len(records) else 0
            self.positions[place] = start
            if start < len(records):
                ready.append((place, records, start))
        if len(ready) > 1:
            self._wire.chance.shuffle(ready)
        taken: list[Record] = []
        for place, records, position in ready:
            page = records[position : position + limit - len(taken)]
            self.positions[place] = position + len(page)
            taken += page
        return taken

    async def _handed_out(self, taken: list[Record]) -> list[Record]:
        fault = self._wire.faults.at(self._wire.life.name, self._kinds)
        if self._wire.traced:
            told = [f"{one.topic.split('.', 1)[1]}/{one.partition}@{one.offset}" for one in taken]
            self._wire.note(self._wire.life.name, "reads", told, fault or "")
        if fault is None:
            return taken
        if fault.kind == REFUSED:
            for record in taken:
                place = (record.topic, record.partition)
                self.positions[place] = min(record.offset, self.positions[place])
            raise Unreachable("refused")
        if fault.kind == REWIND:
            places = sorted(self.positions)
            place = places[int(fault.whom * len(places))]
            self.positions[place] = int(self.positions[place] * fault.how)
            return taken
        moves = self._moves
        await self._wire.suffer(fault)
        return taken if moves == self._moves and self.open else []

    async def _wait(self, until: float) -> bool:
        left = until - self._loop.time()
        if left <= 0:
            return False
        self._woken = self._loop.create_future()
        alarm = self._loop.call_later(left, self.wake)
        try:
            await self._woken
        finally:
            self._woken = None
            alarm.cancel()
        return True


class Reader:
    """A member of a group. Its owner says what to do when it has to let go, and when it is given something."""

    polls_meet: Sequence[str] = POLLED

    def __init__(self, broker: Broker, group: Group, wire: Wire, topics: Sequence[str]) -> None:
        self.number = group.new_number()
        self.life = wire.life
        self.topics = list(topics)
        self.held: frozenset[Place] = frozenset()
        self.closed = False
        self.broker = broker
        self.wire = wire
        self.logs: dict[Place, str] = {}
        self.partitions = Partitions(broker, wire, topics, self.polls_meet)
        self.group = group
        self._loop = asyncio.get_running_loop()
        self._settling: asyncio.Task[None] | None = None
        self._letting_go: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self._committing: asyncio.TimerHandle | None = None
        self.life.on_death.append(self._out_of_sight)
        self.life.on_pause.append(self._out_of_sight)
        group.arrive(self)

    def _out_of_sight(self) -> None:
        if not self.closed:
            self.group.lose_sight(self)

    # -- what the owner does

    async def left(self, held: frozenset[Place]) -> None:
        """Do what has to be done before everything is let go."""

    async def entered(self, places: frozenset[Place]) -> None:
        """Do what has to be done before these are read."""

    def progress(self) -> Mapping[Place, Progress]:
        """Tell what may be remembered, of the log in which it was begun."""
        return {}

    def known(self, place: Place) -> Progress:
        """Tell what the group remembers of a partition as it is now."""
        log = self.broker.log_of(place[0])
        progress = self.group.progress.get(place)
        return progress if progress is not None and progress.log == log else Progress(log, 0)

    def forget(self) -> None:
        """Nothing is ours any more."""

    # -- what the coordinator does

    def summon(self) -> None:
        if not self.closed and self._letting_go is None:
            self._letting_go = self._loop.create_task(self._let_go())

    async def _let_go(self) -> None:
        self.partitions.open = False
        self._failure = None
        self.partitions.hurry = False
        settling, self._settling = self._settling, None
        if settling is not None and not settling.done():
            settling.cancel()
            await asyncio.wait([settling])
        if self.held:
            await self.left(self.held)
            self.commit()
        self.held = frozenset()
        self.partitions.move({})
        self.forget()
        self._letting_go = None
        if not self.closed:
            self.group.arrive(self)

    def enter(self, generation: int, places: frozenset[Place]) -> None:
        if self.closed or self._letting_go is not None or not self.group.expects(self, generation):
            return
        self.held = places
        known = {place: self.known(place) for place in sorted(places)}
        self.logs = {place: progress.log for place, progress in known.items()}
        self.partitions.move({place: progress.offset for place, progress in known.items()})
        self._settling = self._loop.create_task(self._settle(places))

    async def _settle(self, places: frozenset[Place]) -> None:
        try:
            await self.entered(places)
        except Exception as error:  # noqa: BLE001 - the owner's, raised where the owner polls
            self._failure = error
            self.partitions.hurry = True
        else:
            self.partitions.open = True
        self.partitions.wake()

    # -- reading

    async def take(self, wait: float, limit: int) -> list[Record]:
        taken = await self.partitions.poll(wait, limit)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            self.partitions.hurry = False
            self._settling = self._loop.create_task(self._settle(self.held))
            raise failure
        return taken

    def commit_soon(self) -> None:
        if self._committing is None:
            self._committing = self._loop.call_later(COMMIT_AFTER, self.commit)

    def commit(self) -> None:
        """Let the group remember, if we are still in."""
        if self._committing is not None:
            self._committing.cancel()
            self._committing = None
        if self.group.has(self):
            self.group.progress.update({place: one for place, one in self.progress().items() if place in self.held})

    async def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.commit()
        for task in (self._settling, self._letting_go):
            if task is not None:
                task.cancel()
        self.held = frozenset()
        self.partitions.open = False
        self.partitions.close()
        self.group.leave(self)


class SimulatedMembership(Reader):
    """Fulfils `ports.log.Membership`."""

    polls_meet = POLLED_AT_WILL

    def __init__(
        self,
        broker: Broker,
        group: Group,
        wire: Wire,
        topics: Sequence[str],
        on_assigned: OnAssigned,
        on_revoked: OnRevoked,
    ) -> None:
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._acknowledged: dict[Place, Progress] = {}
        super().__init__(broker, group, wire, topics)

    async def left(self, held: frozenset[Place]) -> None:
        await self._on_revoked(shards_of(held))

    async def entered(self, places: frozenset[Place]) -> None:
        await self._on_assigned(shards_of(places))

    def progress(self) -> Mapping[Place, Progress]:
        return self._acknowledged

    def forget(self) -> None:
        self._acknowledged = {}

    async def poll(self, wait: float, limit: int) -> Sequence[Record]:
        return await self.take(wait, limit)

    async def acknowledge(self, positions: Mapping[tuple[str, int], int]) -> None:
        self._acknowledged |= {
            place: Progress(self.logs[place], offset) for place, offset in positions.items() if place in self.held
        }
        self.commit_soon()

    async def assigned(self) -> frozenset[int]:
        return shards_of(self.held)

    async def rewind(self, shards: Collection[int]) -> None:
        await self.wire.ask(self.broker, Unreachable, self._to_the_beginning, frozenset(shards))

    def _to_the_beginning(self, shards: frozenset[int]) -> None:
        again = {place: 0 for place in self.partitions.positions if place[1] in shards}
        self.partitions.move(self.partitions.positions | again)
        self.logs |= {place: self.broker.log_of(place[0]) for place in again}
        self._acknowledged |= {place: Progress(self.logs[place], 0) for place in again}
        self.partitions.wake()


class SimulatedTasks(Reader):
    """Fulfils `ports.log.Tasks`: what is finished is remembered, in whatever order."""

    def __init__(self, broker: Broker, group: Group, wire: Wire, topics: Sequence[str]) -> None:
        self._next: dict[Place, int] = {}
        self._open: dict[Place, set[int]] = {}
        self._finished: dict[Place, set[int]] = {}
        self._running: dict[tuple[str, int, int], int] = {}
        self._early: dict[tuple[str, int, int], int] = {}
        self._going = True
        super().__init__(broker, group, wire, topics)
        self._looking = self._loop.create_task(self._look_regularly())

    async def close(self) -> None:
        self._looking.cancel()
        await super().close()

    async def _look_regularly(self) -> None:
        """Begin anew, as the adapter does, in partitions whose log is another by now."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            now = {place: self.broker.log_of(place[0]) for place in self.held}
            replaced = [place for place in sorted(self.held) if self.logs[place] != now[place]]
            if replaced and self.partitions.open and not self.broker.away:
                for place in replaced:
                    self._next.pop(place, None)
                self.logs |= now
                self.partitions.move(self.partitions.positions | dict.fromkeys(replaced, 0))
                self.partitions.wake()

    async def entered(self, places: frozenset[Place]) -> None:
        for place in places:
            known = self.known(place)
            self._begin(place, known.offset, known.finished)

    def _begin(self, place: Place, offset: int, finished: frozenset[int]) -> None:
        self._next[place] = offset
        self._open[place] = set()
        self._finished[place] = set(finished)

    def progress(self) -> Mapping[Place, Progress]:
        found: dict[Place, Progress] = {}
        for place, following in self._next.items():
            if place not in self.logs:
                continue
            low = min(self._open[place], default=following)
            found[place] = Progress(
                self.logs[place], low, frozenset(offset for offset in self._finished[place] if offset > low)
            )
        return found

    def forget(self) -> None:
        self._next, self._open, self._finished = {}, {}, {}

    async def poll(self, wait: float, limit: int) -> Sequence[Record]:
        if not self._going:
            await asyncio.sleep(wait)
            return []
        return [record for record in await self.take(wait, limit) if self._wanted(record)]

    def _wanted(self, record: Record) -> bool:
        place, task = (record.topic, record.partition), (record.topic, record.partition, record.offset)
        if record.offset < self._next.get(place, 0) or place not in self._next:
            self._begin(place, record.offset, frozenset())  # the log was made anew
        self._next[place] = record.offset + 1
        if record.offset in self._finished[place]:
            return False
        if self._early.pop(task, None) == record.timestamp:
            self._finished[place].add(record.offset)
            return False
        self._open[place].add(record.offset)
        if self._running.get(task) == record.timestamp:
            return False
        self._running[task] = record.timestamp
        return True

    async def done(self, record: Record) -> None:
        place, task = (record.topic, record.partition), (record.topic, record.partition, record.offset)
        self.broker.finished(record, self.life.name)
        self._running.pop(task, None)
        if place in self._next and record.offset < self._next[place]:
            self._open[place].discard(record.offset)
            self._finished[place].add(record.offset)
        else:
            self._early[task] = record.timestamp
        self.commit_soon()

    def pause(self) -> None:
        self._going = False

    def resume(self) -> None:
        self._going = True


class SimulatedTail:
    """Fulfils `ports.log.Tail`."""

    def __init__(self, broker: Broker, wire: Wire, topic: str, *, earliest: bool) -> None:
        self._broker = broker
        self._topic = topic
        self._earliest = earliest
        self._partitions = Partitions(broker, wire, [topic])
        self._partitions.open = True

    async def watch(self, partitions: Collection[int]) -> None:
        records = self._broker.partitions[self._topic]
        for partition in sorted(partitions):
            start = 0 if self._earliest else len(records[partition])
            self._partitions.positions.setdefault((self._topic, partition), start)
        self._partitions.wake()

    async def poll(self, wait: float, limit: int) -> Sequence[Record]:
        return await self._partitions.poll(wait, limit)

    async def close(self) -> None:
        self._partitions.close()


def shards_of(places: Collection[Place]) -> frozenset[int]:
    return frozenset(partition for _, partition in places)
