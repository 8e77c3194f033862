"""The processes of a world: the engine as its composition root puts it together, over simulated fronts.

Laws of this file:
- A slot keeps one process running: one that dies is started again a moment later, under a new name.
- A process that is stopped in good order drains; one that dies says nothing.
"""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast.app.client.run_client import RunClient
from holdfast.app.orchestrator.attempt_scan import PAGE
from holdfast.app.orchestrator.pipeline import CACHE_BYTES
from holdfast.ports.unavailable import Unavailable
from holdfast.profiles.engine import Engine
from holdfast.profiles.profile import Profile
from holdfast.settings import Settings
from tests.simulation.audit import CODEC
from tests.simulation.clock import ProcessClock
from tests.simulation.databases import SimulatedDatabases
from tests.simulation.deaths import SimulatedDeaths
from tests.simulation.deferred import SimulatedDeferredInputs
from tests.simulation.faults import KILL, PAUSE, SLOW, STEP_FAILS
from tests.simulation.host import SimulatedHost
from tests.simulation.hostile import TURN_STEPS
from tests.simulation.keys import SimulatedKeys
from tests.simulation.ledger import SimulatedLedger
from tests.simulation.log import SimulatedLog
from tests.simulation.loop import Life
from tests.simulation.provider import Till
from tests.simulation.recorder import SimulatedChildren, SimulatedRecords
from tests.simulation.schemas import SimulatedSchemas
from tests.simulation.store import SimulatedStore
from tests.simulation.wire import Wire
from tests.simulation.workflows import HERE
from tests.simulation.workload import Client, Person

if TYPE_CHECKING:
    from tests.simulation.world import World

CLIENT, RUN, ORCHESTRATOR, WORKER, PRESS, EMBEDDED = "client", "run", "orchestrator", "worker", "press", "embedded"
LONGEST_WORK = 0.4
SLOWEST_START = 2.0
DRAIN = 3.0
SMALL_CACHE = 12_000
SMALL_PAGE = 2
OUTSIDE_RATE = 0.12
"""How often something goes wrong on the way to the provider and to the authors' database: there it matters most."""
WORK = (STEP_FAILS, KILL, PAUSE, SLOW)


def topology(chance: random.Random) -> list[tuple[str, str]]:
    """Choose the processes of a world."""
    kinds: Sequence[str] = chance.choice(
        (
            (RUN,),
            (RUN, RUN),
            (RUN, RUN, RUN),
            (ORCHESTRATOR, WORKER),
            (ORCHESTRATOR, ORCHESTRATOR, WORKER),
            (ORCHESTRATOR, ORCHESTRATOR, WORKER, WORKER),
            (PRESS, RUN, WORKER),
            (EMBEDDED,),
        )
    )
    names = [(f"{kind}{number}", kind) for number, kind in enumerate(kinds)]
    return [("client", CLIENT), *names]


class Slot:
    """A place where a process runs, one after the other."""

    def __init__(self, world: "World", name: str, kind: str) -> None:
        self.name = name
        self.kind = kind
        self.world = world
        self.lives: list[Life] = []
        self.process: Process | None = None
        self._small = world.work.random() < 0.5
        self._machine = world.work.choice(("machine", f"machine of {name}"))

    def start(self) -> None:
        life = Life(f"{self.name}.{len(self.lives) + 1}")
        life.on_death.append(self._died)
        self.lives.append(life)
        self.world.note("start", life.name)
        self.world.lives[life.name] = life
        self.process = life.context.run(Process, self.world, life, self.kind, self._machine, small=self._small)

    def _died(self) -> None:
        world = self.world
        if world.loop.stopped:
            return
        world.note("death of", self.lives[-1].name)
        delay = world.order.random() * SLOWEST_START
        world.loop.call_later(delay, self.start, context=world.loop.outside)


class Process:
    """One process, from its start to its end."""

    def __init__(self, world: "World", life: Life, kind: str, machine: str, *, small: bool) -> None:
        self.life = life
        self.kind = kind
        self.world = world
        self.wire = self._wire()
        self.till = Till(world.provider, self._wire("/till", OUTSIDE_RATE))
        self.engine: Engine | None = None
        ledger = SimulatedLedger(world.truth.ledger, world.truth, self.wire)
        store = SimulatedStore(world.truth, self.wire)
        log = SimulatedLog(world.broker, self.wire)
        clock = ProcessClock(world, (world.order.random() * 2 - 1) * world.skew)
        embedded = any(slot.kind == EMBEDDED for slot in world.slots) or kind == EMBEDDED
        self._stopping = False
        HERE[life] = self
        if kind == CLIENT:
            run_client = RunClient(
                store=store,
                log_=log,
                clock=clock,
                codec=CODEC,
                namespace=world.topics.namespace,
                shards=len(world.truth.rows),
                publishes=not embedded,
            )
            person = Person(ledger, world.provider, world.lives)
            self._main = world.loop.create_task(Client(store, run_client, world.workload, world.broker, person).serve())
            return
        profile = Profile(
            settings=Settings(namespace=world.topics.namespace, shards=len(world.truth.rows)),
            store=store,
            ledger=ledger,
            deaths=SimulatedDeaths(world.truth.deaths, world.truth, self.wire),
            deferred=SimulatedDeferredInputs(world.truth.deferred, world.truth, self.wire),
            schemas=SimulatedSchemas(world.truth.schemas, world.truth, self.wire),
            log=log,
            keys=SimulatedKeys(world.keys, self.wire),
            codec=CODEC,
            embedded=kind == EMBEDDED,
        )
        profile.clock = clock
        profile.databases = SimulatedDatabases(world.database, self._wire("/database", OUTSIDE_RATE))
        profile.records = SimulatedRecords(world.records.setdefault(machine, {}), world.lives)
        profile.host = SimulatedHost(machine, world.lives)
        self.engine = Engine(
            profile,
            orchestrator=kind != WORKER,
            worker=kind != ORCHESTRATOR,
            local=kind in {RUN, PRESS, EMBEDDED},
            queues=queues_of(kind),
            process=life.name,
            cache_bytes=SMALL_CACHE if small else CACHE_BYTES,
            scan_page=SMALL_PAGE if small else PAGE,
            turn_steps=TURN_STEPS,
            turn_part=world.turn_part(),
            isolation=SimulatedChildren(),
            suspect_after=world.suspect_after,
        )
        life.on_death.append(self._forget)
        self._main = world.loop.create_task(self._serve(self.engine))

    def _forget(self) -> None:
        """What a process had in memory is gone with it; here it is freed: code that had not begun would complain."""
        if self.engine is not None and self.engine.orchestrator is not None:
            live = self.engine.orchestrator.live
            live.drop(list(live.ids))

    def _wire(self, channel: str = "", rate: float | None = None) -> Wire:
        world = self.world
        return Wire(
            self.life,
            world.faults,
            world.order,
            outside=world.loop.outside,
            wake=world.loop.go_on,
            channel=self.life.name + channel,
            rate=rate,
            note=world.note,
            traced=world.traced,
        )

    async def _serve(self, engine: Engine) -> None:
        try:
            try:
                await engine.start()
            except Unavailable:  # its supervisor starts it again
                self.life.die()
                return
            await engine.failed()
            error = None
        except Exception as failure:  # noqa: BLE001 - whatever ends a process is to be told
            error = failure
        if not self._stopping:
            self.world.violate("ended by itself", f"{self.life.name}: {error!r}")

    def stop(self) -> None:
        """Stop in good order, as for a new deployment."""
        if not self._stopping and self.engine is not None:
            self._stopping = True
            self._draining = self.world.loop.create_task(self._drain(self.engine), context=self.life.context.copy())

    async def _drain(self, engine: Engine) -> None:
        await engine.stop(drain=DRAIN)
        self.life.die()

    # -- what the author's steps ask (workflows.Here)

    async def work(self, run: str, what: str) -> None:
        world = self.world
        world.auditor.executed(run, what, self.life.name)
        fault = world.faults.at(f"{self.life.name}/work", WORK)
        if fault is not None:
            await self.wire.suffer(fault)
        await self.wire.pass_time(world.order.random() ** 3 * LONGEST_WORK)
        if fault is not None and fault.kind == STEP_FAILS:
            raise RuntimeError("a bad day")

    async def buy(self, how: str, key: str, run: str, what: str) -> str:
        self.world.auditor.executed(run, what, self.life.name)
        return await self.till.buy(how, key, run, what)

    async def find(self, key: str) -> str | None:
        return await self.till.find(key)

    def backoff(self, run: str, what: str) -> int:
        self.world.auditor.executed(run, what, self.life.name)
        tries = self.world.executions
        tries[run, what] = tries.get((run, what), 0) + 1
        return tries[run, what]


def queues_of(kind: str) -> tuple[str, ...]:
    """Tell which queues a process serves; none named means all in memory."""
    return {PRESS: ("default",), WORKER: ("default", "press")}.get(kind, ())
