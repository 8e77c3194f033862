"""What goes wrong by itself, at any time: processes, servers, the group.

Law of this file: when the last fault is over, everything that was away is back, and nobody stands still.
"""

import asyncio
from typing import TYPE_CHECKING, Protocol

from tests.simulation import verdict
from tests.simulation.faults import (
    BUSY_STORE,
    FAILOVER,
    FORGET_KEYS,
    FUSE,
    KEYS_AWAY,
    KILL,
    LOG_AWAY,
    LOSE_LOG,
    OLD_OFFSETS,
    PAUSE,
    RESTART,
    SHUFFLE,
    STEAL,
    STORE_AWAY,
    Fault,
)

if TYPE_CHECKING:
    from tests.simulation.processes import Process
    from tests.simulation.world import World

KINDS = (
    KILL,
    FUSE,
    PAUSE,
    RESTART,
    SHUFFLE,
    STEAL,
    OLD_OFFSETS,
    LOSE_LOG,
    LOG_AWAY,
    STORE_AWAY,
    BUSY_STORE,
    FAILOVER,
    FORGET_KEYS,
    KEYS_AWAY,
)
LONGEST_FUSE = 80
LONGEST_AWAY = 5.0
LONGEST_BUSY = 8.0
SLOWEST_COMMIT = 0.4
MOMENT = 0.6


class Nemesis:
    """Strikes from time to time."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._every = world.work.choice((0.7, 1.5, 3.0))

    async def serve(self) -> None:
        world = self._world
        while world.faults.on:
            await asyncio.sleep(world.work.expovariate(1 / self._every))
            fault = world.faults.at("nemesis", KINDS, 1.0)
            if fault is not None:
                self._strike(fault)

    def _strike(self, fault: Fault) -> None:
        world = self._world
        process = self._whom(fault)
        world.note("nemesis:", fault.kind, process.life.name)
        for law, text in verdict.live_differs(process):
            world.violate(law, text)
        match fault.kind:
            case "kill":
                process.life.die()
            case "fuse":
                process.life.fuse = 1 + int(fault.how * LONGEST_FUSE)
            case "pause":
                process.wire.pause(fault.how)
            case "restart":
                process.stop()
            case "steal":
                world.truth.take([int(fault.how * len(world.truth.rows))], "a ghost")
            case "shuffle" | "old_offsets":
                self._meet_a_group(fault)
            case "lose_log":
                world.broker.lose(offsets_too=fault.how < 0.5)
            case "busy_store":
                world.truth.commit_time = fault.how * SLOWEST_COMMIT
                world.loop.call_later(fault.how * LONGEST_BUSY, self._commits_fast)
            case "forget_keys":
                world.keys.forget()
            case _:
                self._take_away(fault)

    def _take_away(self, fault: Fault) -> None:
        """Let a service be out of reach for a while; after a failover all answers under way are lost as well."""
        world = self._world
        away: dict[str, Awayable] = {LOG_AWAY: world.broker, KEYS_AWAY: world.keys}
        service = away.get(fault.kind, world.truth)
        if fault.kind == FAILOVER:
            world.truth.failovers += 1
        service.away = True
        seconds = fault.how * (MOMENT if fault.kind == FAILOVER else LONGEST_AWAY)
        world.loop.call_later(seconds, self._back, service)

    def _whom(self, fault: Fault) -> "Process":
        slots = self._world.slots
        process = slots[int(fault.whom * len(slots))].process
        assert process is not None
        return process

    def _meet_a_group(self, fault: Fault) -> None:
        groups = list(self._world.broker.groups.values())
        if not groups:
            return
        group = groups[int(fault.whom * len(groups))]
        if fault.kind == OLD_OFFSETS:
            group.forget_progress()
        group.rebalance()

    def _back(self, service: "Awayable") -> None:
        service.away = False

    def _commits_fast(self) -> None:
        self._world.truth.commit_time = 0.0

    def rest(self) -> None:
        """No more faults."""
        world = self._world
        world.note("nemesis rests")
        world.faults.on = False
        self._commits_fast()
        for service in (world.truth, world.broker, world.keys):
            service.away = False
        for slot in world.slots:
            life = slot.lives[-1]
            life.fuse = 0
            world.loop.go_on(life)


class Awayable(Protocol):
    """A service that may be out of reach."""

    away: bool
