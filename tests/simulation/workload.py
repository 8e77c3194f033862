"""What is asked of the engine in one world, and what must come of it.

Laws of this file:
- Who asks has its answer only from the store. A command that the log has taken is not sent again, unless that log was
  lost; then it is, as often as it takes.
- A client may die like any process; what it was to do is done again by its successor.
"""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import msgspec

from holdfast.app.client.run_client import RunClient
from holdfast.core import effects as ledger
from holdfast.core.asks import RETRY, SUCCEED
from holdfast.core.commands import (
    CancelRun,
    Command,
    PurgeRun,
    ResolveEffect,
    ResumeRun,
    RunOutcome,
    SignalRun,
    StartRun,
    TerminateRun,
)
from holdfast.core.effects import Effect
from holdfast.core.payload import Payload
from holdfast.core.run import CANCELLED, COMPLETED, ENDED, FAILED, PARKED, TERMINATED
from holdfast.ports.ledger import Ledger
from holdfast.ports.log import TopicMissing, Unreachable
from holdfast.ports.store import Store
from holdfast.ports.unavailable import Unavailable
from tests.simulation import family, hostile, renewal, retrying, sagas
from tests.simulation.broker import Broker
from tests.simulation.loop import DEAD, RUNNING, Life
from tests.simulation.provider import Provider, receipt
from tests.simulation.wire import LATEST
from tests.simulation.workflows import SIGNAL, Measured

LOOK_AGAIN = 1.2
WRONG = "wrong-"
"""How the ids of messages begin that the code of their run cannot take."""
PURGES_IN = 3
"""So many worlds have one in which runs are purged."""
DECIDE_EVERY = 1.5
CROWDED = 0.3
"""The part of worlds that have a run of many steps at once among them."""
THINK_FOR = LATEST + 4
"""Seconds that a person takes to decide: whatever was on its way has come by then."""
WAYS = ("charge", "pay", "transfer", "give", "book")
TROUBLE = (Unavailable, Unreachable, TopicMissing)
KINDS = (
    "order",
    "order",
    "sleeper",
    "stubborn",
    "listener",
    "patient_listener",
    "cancelled",
    "terminated",
    "fan",
    "failing",
    "mending",
    "refunder",
    "remitter",
)

WITHOUT_RESULT = {"cancelled": CANCELLED, "terminated": TERMINATED, "failing": FAILED, "refunder": COMPLETED}


class Expected(msgspec.Struct, frozen=True):
    """The one right end of a run."""

    status: str
    result: Any = None


class Deed(msgspec.Struct):
    """One thing a client does; `after_start` when it makes no sense before the run is there."""

    at: float
    run: str
    command: Command
    twice: bool = False
    after_start: bool = False
    done: bool = False


class Workload:
    """Runs, deeds and right results."""

    def __init__(
        self,
        chance: random.Random,
        runs: int | None = None,
        *,
        hostile_chance: random.Random | None = None,
        family_chance: random.Random | None = None,
        retrying_chance: random.Random | None = None,
        saga_chance: random.Random | None = None,
        purge_chance: random.Random | None = None,
        renewal_chance: random.Random | None = None,
        crowd_chance: random.Random | None = None,
    ) -> None:
        self.expected: dict[str, Expected] = {}
        self.families: dict[str, str] = {}
        """The parents of the runs that are called as children."""
        self.deeds: list[Deed] = []
        self.told: dict[str, RunOutcome] = {}
        self.waited_for: list[str] = []
        self.stalling: list[str] = []
        """Runs that stand by steps without attempts, until a person has looked at them."""
        Measured.mended = set()
        spread = chance.choice((0.01, 0.5, 6.0))  # all at once, or one after the other
        for number in range(chance.randint(2, 5) if runs is None else runs):
            run = f"run-{number}{chance.choice('abcdefghijklmnop')}"  # on all shards
            self._run(run, chance.choice(KINDS), 1 + chance.random() * spread, chance)
        # From a stream of its own, so that the other runs are what they are without it.
        kind = None if hostile_chance is None else hostile.chosen(hostile_chance)
        if kind is not None and hostile_chance is not None:
            run = f"hostile-{hostile_chance.choice('abcdefghijklmnop')}"
            self._run(run, kind, 1 + hostile_chance.random() * spread, hostile_chance)
        kind = None if family_chance is None else family.chosen(family_chance)
        if kind is not None and family_chance is not None:
            run = f"family-{family_chance.choice('abcdefghijklmnop')}"
            self._run(run, kind, 1 + family_chance.random() * spread, family_chance)
        kind = None if retrying_chance is None else retrying.chosen(retrying_chance)
        if kind is not None and retrying_chance is not None:
            run = f"retrying-{retrying_chance.choice('abcdefghijklmnop')}"
            self._run(run, kind, 1 + retrying_chance.random() * spread, retrying_chance)
        if crowd_chance is not None and crowd_chance.random() < CROWDED:
            run = f"crowd-{crowd_chance.choice('abcdefghijklmnop')}"
            self._run(run, "crowd", 1 + crowd_chance.random() * spread, crowd_chance)
        kind = None if saga_chance is None else sagas.chosen(saga_chance)
        if kind is not None and saga_chance is not None:
            run = f"saga-{saga_chance.choice('abcdefghijklmnop')}"
            self._run(run, kind, 1 + saga_chance.random() * spread, saga_chance)
        if renewal_chance is not None and renewal.chosen(renewal_chance):
            run = f"renewed-{renewal_chance.choice('abcdefghijklmnop')}"
            self._run(run, renewal.KIND, 1 + renewal_chance.random() * spread, renewal_chance)

        # Last, since it draws among the runs that there are.
        if purge_chance is not None and purge_chance.randrange(PURGES_IN) == 0:
            for run in self.expected:
                if purge_chance.random() < 0.5:
                    self._do(purge_chance, 1 + purge_chance.random() * 8, run, PurgeRun(), after_start=True)

    def may_be_purged(self, run: str) -> bool:
        """Tell whether everything else that was to happen to a run from outside has happened."""
        heard = run in self.told or run not in self.waited_for
        return heard and all(
            deed.done for deed in self.deeds if deed.run == run and not isinstance(deed.command, PurgeRun)
        )

    def _run(self, run: str, kind: str, begin: float, chance: random.Random) -> None:
        size = chance.randint(1, 3)
        how = chance.choice(WAYS)
        value = Payload(data=msgspec.json.encode({"run": run, "size": size, "how": how}))
        self._do(chance, begin, run, StartRun(workflow=kind, input=value))
        is_hostile = kind in hostile.KINDS
        if kind in family.KINDS:
            ends = family.ends_of(run, kind, size)
            self.expected |= {one: Expected(*end) for one, end in ends.items()}
            self.families |= {one: run for one in ends if one != run}
        elif kind in retrying.KINDS:
            self.expected[run] = Expected(*retrying.end_of(run, kind, size))
            self.stalling += [run] if kind == "staller" else []
        elif kind in sagas.KINDS:
            self.expected[run] = Expected(*sagas.end_of(run, kind))
            self.stalling.append(run)
        else:
            self.expected[run] = Expected(*hostile.end_of(run, kind, size)) if is_hostile else expected(run, kind, size)
        if chance.random() < 0.3:
            self.waited_for.append(run)
        for number in range(signals(kind, size)):
            at = max(0.0, begin + chance.uniform(-1, 3))
            text = Payload(data=msgspec.json.encode(f"{run}-{number}"))
            self._do(chance, at, run, SignalRun(name=SIGNAL, message_id=f"m{number}", input=text))
        for number in range(size if kind == "mistaken" else 0):
            wrong = Payload(data=msgspec.json.encode(number))
            at = max(0.0, begin + chance.uniform(-1, 3))
            self._do(chance, at, run, SignalRun(name=SIGNAL, message_id=f"{WRONG}{number}", input=wrong))
        if kind in {"cancelled", "cancelled_undoer"}:
            self._do(chance, begin + chance.random() * 3, run, CancelRun(reason="enough"), after_start=True)
        if kind in {"mending", "spinner"}:
            self._do(chance, begin + 1 + chance.random() * 3, run, ResumeRun(by="ann"), after_start=True)
        if kind in {"terminated", "orphaned"}:
            self._do(chance, begin + chance.random() * 3, run, TerminateRun(reason="over"), after_start=True)

    def _do(self, chance: random.Random, at: float, run: str, command: Command, *, after_start: bool = False) -> None:
        self.deeds.append(Deed(at, run, command, twice=chance.random() < 0.25, after_start=after_start))


def signals(kind: str, size: int) -> int:
    """Tell how many messages a run of this kind waits for."""
    if kind == renewal.KIND:
        return renewal.messages(size)
    return {"order": 1, "listener": size, "patient_listener": size, "mending": size, "mistaken": size}.get(kind, 0)


def expected(run: str, kind: str, size: int) -> Expected:  # noqa: PLR0911 - an end for each kind: a table
    """Tell the right end of a run."""
    match kind:
        case "order":
            parts = [f"{run}:part-{n}" for n in range(size)]
            return Expected(COMPLETED, [f"{run}:reserve", *parts, receipt(run, "order"), f"{run}-0", f"{run}:ship"])
        case "sleeper":
            return Expected(COMPLETED, [*(f"{run}:after-{n}" for n in range(size)), receipt(run, "sleep")])
        case "stubborn":
            lucky = [f"{run}:luck-{n}" for n in range(size)]
            return Expected(COMPLETED, [*lucky, "ValueError", "Refused", receipt(run, "consolation")])
        case "listener" | "patient_listener":
            return Expected(COMPLETED, [f"{run}-{n}" for n in range(size)])
        case "fan":
            return Expected(COMPLETED, [f"{run}:fanned-{n}" for n in range(size + 1)])
        case "crowd":
            parts = [f"{run}:crowd-{n}" for n in range(4 * size)] + [f"{run}:again-{n}" for n in range(3)]
            return Expected(COMPLETED, [*parts, receipt(run, "crowd")])
        case "mending":
            return Expected(
                COMPLETED, [f"{run}:measured", receipt(run, "mended"), *(f"{run}-{n}" for n in range(size))]
            )
        case renewal.KIND:
            return Expected(COMPLETED, renewal.result(run, size))
        case "remitter":
            return Expected(COMPLETED, [receipt(run, f"remittance-{n}") for n in range(size + 2)])
        case _:
            return Expected(WITHOUT_RESULT[kind])


class Client:
    """A process that asks, and the person who decides on what is parked."""

    def __init__(
        self, store: Store, run_client: RunClient, workload: Workload, broker: Broker, person: "Person"
    ) -> None:
        self._store = store
        self._run_client = run_client
        self._workload = workload
        self._broker = broker
        self._person = person
        self._loop = asyncio.get_running_loop()

    async def serve(self) -> None:
        deeds = [self._do(deed) for deed in self._workload.deeds if not deed.done]
        waits = [self._wait(run) for run in self._workload.waited_for if run not in self._workload.told]
        async with asyncio.TaskGroup() as group:
            for one in [*deeds, *waits, self._decide()]:
                group.create_task(one)

    async def _decide(self) -> None:
        while True:
            await asyncio.sleep(DECIDE_EVERY)
            try:
                for parked in await self._person.ledger.effects(states=[ledger.PARKED]):
                    verdict = self._person.verdict(parked, self._loop.time())
                    if verdict is not None:
                        await self._run_client.send(parked.run_id, verdict, incarnation=parked.incarnation)
                for run in self._workload.stalling:
                    if await self._is_parked(run):
                        await self._run_client.send(run, ResumeRun(by="ann"))
            except TROUBLE:
                continue

    async def _do(self, deed: Deed) -> None:
        await asyncio.sleep(max(0.0, deed.at - self._loop.time()))
        sent_to = 0
        while True:
            try:
                if await self._is_done(deed):
                    deed.done = True
                    return
                # A purge that came too early was refused: it is asked for again.
                anew = sent_to != self._broker.generation or isinstance(deed.command, PurgeRun)
                if anew and await self._makes_sense(deed):
                    generation = self._broker.generation
                    for _ in range(1 + deed.twice):
                        await self._run_client.send(deed.run, deed.command)
                    sent_to = generation
            except TROUBLE:
                pass
            await asyncio.sleep(LOOK_AGAIN)

    async def _makes_sense(self, deed: Deed) -> bool:
        if isinstance(deed.command, PurgeRun):
            stored = await self._run_client.store.history(deed.run)
            return stored is not None and stored.row.status in ENDED and self._workload.may_be_purged(deed.run)
        if isinstance(deed.command, ResumeRun):
            return await self._is_parked(deed.run)
        return not deed.after_start or await self._run_client.existence.of(deed.run)

    async def _is_parked(self, run: str) -> bool:
        """A parked run is resumed once its code has been mended."""
        stored = await self._store.history(run)
        if stored is None or stored.row.status != PARKED:
            return False
        Measured.mended.add(run)
        return True

    async def _is_done(self, deed: Deed) -> bool:
        store = self._store
        if await store.tombstones([deed.run]):
            await self._start_again(deed)
            return True
        match deed.command:
            case PurgeRun():
                return False
            case StartRun():
                return bool(await store.existing([deed.run]))
            case ResumeRun():
                stored = await store.history(deed.run)
                return stored is not None and any(one.type == "RunResumed" for one in stored.history)
            case SignalRun(message_id=message_id) if not message_id.startswith(WRONG):
                return bool(await store.seen_signals([(deed.run, message_id)]))
            case SignalRun():
                stored = await store.history(deed.run)  # a run may end without it
                taken = await store.seen_signals([(deed.run, deed.command.message_id)])
                return bool(taken) or (stored is not None and stored.row.status in ENDED)
            case _:
                stored = await store.history(deed.run)
                if stored is None:
                    return False
                asked = any(one.type == "CancelRequested" for one in stored.history)
                return stored.row.status in ENDED or (asked and isinstance(deed.command, CancelRun))

    async def _start_again(self, deed: Deed) -> None:
        """Ask for a run that is no more: nothing may come of it."""
        started = (one.command for one in self._workload.deeds if one.run == deed.run)
        for command in started if isinstance(deed.command, PurgeRun) else ():
            if isinstance(command, StartRun):
                await self._run_client.send(deed.run, command)

    async def _wait(self, run: str) -> None:
        while run not in self._workload.told:
            try:
                told = await self._run_client.outcome(run)
            except TROUBLE:
                await asyncio.sleep(LOOK_AGAIN)
            else:
                assert isinstance(told, RunOutcome)
                self._workload.told[run] = told


class Person:
    """Decides on parked effects by the provider's book, once nothing can be on its way any more."""

    def __init__(self, ledger: Ledger, provider: Provider, lives: Mapping[str, Life]) -> None:
        self.ledger = ledger
        self._provider = provider
        self._lives = lives
        self._seen: dict[tuple[str, int], float] = {}

    def verdict(self, effect: Effect, now: float) -> ResolveEffect | None:
        """Say what happened, or nothing as long as somebody may still send."""
        sender = self._lives.get(effect.sender)
        if self._provider.may_come(effect.key) or (sender is not None and sender.state not in {DEAD, RUNNING}):
            self._seen.pop((effect.effect_id, effect.version), None)
            return None
        if now - self._seen.setdefault((effect.effect_id, effect.version), now) < THINK_FOR:
            return None
        purchase = (effect.run_id, self._provider.wanted[effect.run_id, effect.step_id])
        happened = bool(self._provider.book[purchase])
        return ResolveEffect(
            step_id=effect.step_id,
            version=effect.version,
            verdict=SUCCEED if happened else RETRY,
            by="ann",
            reason="the book says so",
            result=Payload(data=msgspec.json.encode(receipt(*purchase))) if happened else None,
        )
