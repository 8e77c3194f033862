"""The simulated log: the front that each process has to the broker.

Law of this file: calls of one process keep their order in each partition. A call that fails may have published its
first records, or may publish all of them later.
"""

import asyncio
from collections.abc import Mapping, Sequence

from holdfast.ports.log import OnAssigned, OnRevoked, Outgoing, TooLarge, Topic, Unreachable
from tests.simulation.broker import Broker
from tests.simulation.faults import KILL, LATE, LOST, PART, PAUSE, REFUSED, SLOW, TWICE
from tests.simulation.readers import SimulatedMembership, SimulatedTail, SimulatedTasks
from tests.simulation.wire import LATEST, NEAR, Wire

RECORD_LIMIT = 1024 * 1024
PUBLISHING = (KILL, PAUSE, REFUSED, LATE, SLOW, PART, TWICE)
PUBLISHED = (KILL, PAUSE, LOST, SLOW)


class SimulatedLog:
    """Fulfils `ports.log.Log`: one process's front to the broker."""

    def __init__(self, broker: Broker, wire: Wire) -> None:
        self.broker = broker
        self._wire = wire
        self._in_line = asyncio.Lock()

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to flush."""

    async def install(self, topics: Sequence[Topic]) -> list[str]:
        return await self._wire.ask(self.broker, Unreachable, self.broker.install, topics)

    async def missing(self, topics: Sequence[Topic]) -> list[str]:
        return await self._wire.ask(self.broker, Unreachable, self.broker.missing, topics)

    async def identity(self, topics: Sequence[str]) -> Mapping[str, str]:
        return await self._wire.ask(self.broker, Unreachable, self.broker.identity, topics)

    async def publish(self, records: Sequence[Outgoing]) -> None:
        if not records:
            return
        async with self._in_line:
            await self._publish(list(records))

    async def _publish(self, records: list[Outgoing]) -> None:
        broker, wire = self.broker, self._wire
        by = wire.life.name
        await wire.pass_time(broker.chance.random() * NEAR)
        fault = wire.faults.at(by, PUBLISHING)
        kind = "" if fault is None else fault.kind
        if fault is not None:
            wire.note(by, kind, "publishing", len(records))
            await wire.suffer(fault)
            if kind == PART:
                broker.append(records[: int(fault.how * len(records))], by)
            elif kind == LATE:
                wire.later(fault.how**2 * LATEST, broker.append, records, by)
            if kind in {PART, LATE, REFUSED}:
                raise Unreachable(kind)
        if broker.away:
            await wire.pass_time(0.1)
            raise Unreachable("away")
        for index, one in enumerate(records):
            if len(one.value) + len(one.key) > RECORD_LIMIT:
                raise TooLarge(index, "too large")
        broker.require({one.topic for one in records})
        broker.append(records, by)
        if kind == TWICE:
            broker.append(records, by)
        fault = wire.faults.at(by, PUBLISHED)
        if fault is not None:
            wire.note(by, fault.kind, "after publishing")
            await wire.suffer(fault)
            if fault.kind == LOST:
                raise Unreachable("lost")

    async def join(
        self, topics: Sequence[str], group: str, *, on_assigned: OnAssigned, on_revoked: OnRevoked, instance: str | None
    ) -> SimulatedMembership:
        await self._wire.ask(self.broker, Unreachable, self.broker.require, topics)
        of = self.broker.group(group, sharded=True)
        return SimulatedMembership(self.broker, of, self._wire, topics, on_assigned, on_revoked)

    async def tasks(self, topics: Sequence[str], group: str, *, instance: str | None) -> SimulatedTasks:
        await self._wire.ask(self.broker, Unreachable, self.broker.require, topics)
        of = self.broker.group(group, sharded=False)
        return SimulatedTasks(self.broker, of, self._wire, topics)

    async def tail(self, topic: str, *, earliest: bool = False) -> SimulatedTail:
        await self._wire.ask(self.broker, Unreachable, self.broker.require, [topic])
        return SimulatedTail(self.broker, self._wire, topic, earliest=earliest)
