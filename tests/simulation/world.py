"""One simulated world, from its seed to its verdict.

Laws of this file:
- All chance of a world comes from its seed; the streams for work, order and faults are apart.
- Faults end at a time that the seed chooses. From then on everything must come to rest by itself.
"""

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import NamedTuple

from holdfast.app.log_identity import remember
from holdfast.core.behind import PART
from holdfast.core.run import ENDED
from holdfast.ports.log import Topic
from holdfast.ports.topics import Topics
from tests.simulation import verdict
from tests.simulation.audit import Auditor
from tests.simulation.broker import Broker
from tests.simulation.databases import Database
from tests.simulation.faults import Faults, Plan
from tests.simulation.keys import KeyServer
from tests.simulation.log import SimulatedLog
from tests.simulation.loop import Exhausted, Life, SimulatedLoop
from tests.simulation.nemesis import Nemesis
from tests.simulation.processes import Slot, topology
from tests.simulation.provider import Provider
from tests.simulation.recorder import Folder
from tests.simulation.store import SimulatedStore, Truth
from tests.simulation.wire import Wire
from tests.simulation.workflows import HERE
from tests.simulation.workload import Workload

NAMESPACE = "sim"
SHARDS = 4
EPOCH = 1_700_000_000_000_000
PATIENCE = 300.0
"""Seconds of virtual time, after the last fault, within which everything must have come to rest."""
LOOK_EVERY = 0.5
MICROS = 1_000_000
CUT = 0.6
"""The part of worlds in which turns are cut after very few requests."""


class Violation(NamedTuple):
    """A law that was broken."""

    law: str
    text: str
    at: float


class Verdict(NamedTuple):
    """What came of a seed."""

    seed: int
    violations: tuple[Violation, ...]
    injected: Plan
    events: int
    seconds: float
    trace: list[str]


class World:
    """Everything that is shared, and the processes."""

    def __init__(
        self, seed: int, plan: Plan | None = None, *, traced: bool = False, story: "Story | None" = None
    ) -> None:
        self.seed = seed
        self.work = random.Random(f"work/{seed}")
        self.order = random.Random(f"order/{seed}")
        self.loop = SimulatedLoop(self.order)  # type: ignore[abstract]  # no sockets, no threads in this world
        self.faults = Faults(random.Random(f"faults/{seed}"), plan)
        self.violations: list[Violation] = []
        self.trace: list[str] = []
        self.traced = traced
        self._story = story
        self.topics = Topics(NAMESPACE)
        self.slots: list[Slot] = []
        self.last_fault = 6.0 + self.work.random() * 12.0
        self.skew = self.work.choice((0.05, 0.05, 1.0))  # seconds that a process's clock may be wrong
        self.executions: dict[tuple[str, str], int] = {}
        self.failure: BaseException | None = None
        self.lives: dict[str, Life] = {}
        self.records: dict[str, Folder] = {}
        self._parts = random.Random(f"parts/{seed}")
        self._cuts = story is None and self._parts.random() < CUT
        self.suspect_after = 1  # what was held by one process that died is executed apart: it is innocent

    def turn_part(self) -> int:
        """After how many requests a process cuts a turn; each its own, as if it were of another release."""
        return self._parts.choice((1, 2, 3, PART)) if self._cuts else PART

    def now(self) -> int:
        return EPOCH + int(self.loop.now * MICROS)

    def violate(self, law: str, text: str) -> None:
        """A law is broken: the world ends here."""
        self.violations.append(Violation(law, text, self.loop.now))
        self.note("VIOLATION", law, text)
        self.loop.stopped = True

    def note(self, *words: object) -> None:
        if self.traced:
            self.trace.append(f"{self.loop.now:9.4f} " + " ".join(map(str, words)))

    # -- life

    def run(self) -> Verdict:
        self.loop.call_soon(self.loop.create_task, self._begin(), context=Context())
        try:
            self.loop.run()
        except Exhausted as spun:
            self.violate("spins", str(spun))
        for law, text in verdict.of(self) if not self.violations and self._story is None else ():
            self.violate(law, text)
        found = Verdict(
            self.seed, tuple(self.violations), self.faults.injected, self.auditor.events, self.loop.now, self.trace
        )
        self._end()
        return found

    async def _begin(self) -> None:
        self.truth = Truth(self.now)
        self.truth.install(SHARDS)
        self.auditor = Auditor(self.truth, self.topics, self.violate, self.note if self.traced else None)
        self.truth.heard = self.auditor.committed
        self.broker = Broker(self.now, self.order, self.auditor.heard, self.auditor.finished)
        names = ("commands", "results", "events", "outcomes", "dlq", "tasks.default", "tasks.press")
        self.broker.install([Topic(f"{NAMESPACE}.{name}.v1", SHARDS) for name in names])
        self.keys = KeyServer(self)
        self.provider = Provider(self.violate)
        self.database = Database(self.provider.bought)
        self.auditor.watch(self.provider)
        self.auditor.skew = int((self.skew * 2 + 0.1) * MICROS)
        self.workload = Workload(
            self.work,
            hostile_chance=random.Random(f"hostile/{self.seed}"),
            family_chance=random.Random(f"family/{self.seed}"),
            retrying_chance=random.Random(f"retrying/{self.seed}"),
            saga_chance=random.Random(f"saga/{self.seed}"),
            purge_chance=random.Random(f"purge/{self.seed}"),
            renewal_chance=random.Random(f"renewal/{self.seed}"),
            crowd_chance=random.Random(f"crowd/{self.seed}"),
        )
        await self._install()
        if self._story is not None:
            self.workload = Workload(self.work, runs=0)
            self._telling = self.loop.create_task(self._tell(self._story))
            return
        self.slots = [Slot(self, name, kind) for name, kind in topology(self.work)]
        for slot in self.slots:
            slot.start()
        nemesis = Nemesis(self)
        self._fate = (self.loop.create_task(nemesis.serve()), self.loop.create_task(self._watch(nemesis)))

    async def _tell(self, story: "Story") -> None:
        """Let a story happen instead of chance."""
        try:
            async with asyncio.timeout(PATIENCE):
                await story(self)
        except BaseException as error:  # noqa: BLE001 - a failed assertion of the story is its reader's to see
            self.failure = error
        self.loop.stopped = True

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait for a condition."""
        while not happened():
            await asyncio.sleep(0.001)

    async def _install(self) -> None:
        self.faults.on = False
        wire = Wire(Life("installer"), self.faults, self.order, outside=self.loop.outside, wake=self.loop.go_on)
        await remember(SimulatedStore(self.truth, wire), SimulatedLog(self.broker, wire), self.topics)
        self.faults.on = True

    async def _watch(self, nemesis: Nemesis) -> None:
        """Wait for the last fault, then for rest."""
        await asyncio.sleep(self.last_fault)
        nemesis.rest()
        # What was sent and got lost is sent again some time, and then it must come to rest.
        if not (await self._rests_by(self.last_fault + PATIENCE) or await self._rests_by(self._resends() + PATIENCE)):
            self.violate("stuck", verdict.what_is_open(self))
        self.loop.stopped = True

    async def _rests_by(self, deadline: float) -> bool:
        while self.loop.now < deadline:
            await asyncio.sleep(LOOK_EVERY)
            if self.is_at_rest():
                await asyncio.sleep(LOOK_EVERY)
                return True
        return False

    def _resends(self) -> float:
        """Tell when the last attempt is sent again that nobody has answered for."""
        due = [(row.resend_at - EPOCH) / MICROS for row in self.truth.open.values()]
        return max(due, default=-PATIENCE)

    def is_at_rest(self) -> bool:
        """Everything was asked, every run has ended, and all of it was told."""
        runs = self.auditor.runs
        return (
            all(deed.done or verdict.is_uncalled(self, deed.run) for deed in self.workload.deeds)
            and all(run in runs and runs[run].status in ENDED for run in verdict.awaited(self))
            and verdict.untold(self) == []
            and verdict.unsettled(self) == []
            and verdict.left_open(self) == []
            and all(run in self.workload.told for run in self.workload.waited_for)
        )

    # -- the clock of the key server

    def monotonic(self) -> float:
        return self.loop.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def _end(self) -> None:
        """Drop all tasks: what stands in a `finally` runs, and reaches nothing."""
        lives = [life for slot in self.slots for life in slot.lives]
        for life in lives:
            life.die()
        self.loop.bury([*self.loop.tasks, *(task for life in lives for task in life.tasks)])
        HERE.clear()


Story = Callable[[World], Awaitable[None]]


def tell(story: Story, *, times: int = 1) -> None:
    """Let a story happen in a world where nothing goes wrong; `times` with other delays each."""
    for seed in range(times):
        world = World(seed, {}, story=story)
        found = world.run()
        if world.failure is not None:
            raise world.failure
        assert not found.violations, found.violations


def simulate(seed: int, plan: Plan | None = None, *, traced: bool = False) -> Verdict:
    """Run a world."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        return World(seed, plan, traced=traced).run()
    finally:
        if was_on:
            gc.enable()
