"""The storm: faults of every kind, overlapping, over a steady stream of orders; nothing doubled, lost or stuck.

    python -m tests.chaos --only storm --runs 2000 --faults 100 --seed 7

Laws of this file:
- What strikes, whom and when is drawn from the seed; what comes of it is up to the machine.
- A fault comes with an order that is placed while it rages and one that is placed when it is over, so that there is
  always somebody to suffer from it and somebody to recover for.
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Container
from pathlib import Path

import msgspec

from examples.demo.processes import run
from examples.demo.shop import HOLDFAST
from tests.chaos.faults import KINDS, NEW_IN_BURST, Fault, skipped
from tests.chaos.person import Person
from tests.chaos.stream import Stream
from tests.chaos.verdict import Verdict, judge
from tests.chaos.world import World, open_world

PATIENCE = 300.0
PER_FAULT = 5.0
FEWEST = 4
"""Orders for each fault."""
TELL_EVERY = 10.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to come: so many orders and faults over `seconds`, drawn from `seed`."""

    runs: int
    faults: int
    seed: int
    seconds: float
    patience: float = PATIENCE

    def kinds(self, skipped: Container[str] = ()) -> list[str]:
        """Give the kinds of all faults, as evenly as they can be had."""
        known = [kind for kind in KINDS if kind not in skipped]
        return [known[number % len(known)] for number in range(self.faults)]


class OfKind(msgspec.Struct):
    """What was seen of one kind."""

    count: int = 0
    slowest_recovery_s: float = 0.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How the storm went."""

    runs: int
    faults: int
    kinds: dict[str, OfKind]
    double: int
    lost: int
    stuck: int
    seed: int
    seconds: float
    resolved: dict[str, int]
    skipped: dict[str, str]
    wrong: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not (self.double or self.lost or self.stuck or self.wrong)


class Storm:
    """One storm over one world."""

    def __init__(self, plan: Plan, world: World) -> None:
        self._plan = plan
        self._world = world
        self._chance = random.Random(plan.seed)
        self._stream = Stream(dict(world.clients), random.Random(plan.seed + 1))
        self._person = Person(world.clients, world.book)
        self._kinds: defaultdict[str, OfKind] = defaultdict(OfKind)
        self._wrong: list[str] = []
        self._skipped = skipped(world)
        self._since = time.monotonic()

    async def rage(self) -> Report:
        """Let it all happen, wait until everything has ended, and judge."""
        helpers = [asyncio.create_task(work) for work in (self._stream.watch(), self._person.work(), self._tell())]
        try:
            await self._happen()
            self._say("no more faults: what is left completes")
            await self._stream.all_ended(self._plan.patience)
            await self._stream.leave()
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
        return self._report(await self._judged())

    async def _happen(self) -> None:
        kinds = self._plan.kinds(self._skipped)
        self._chance.shuffle(kinds)
        times = sorted(self._chance.uniform(0, self._plan.seconds) for _ in kinds)
        steady = self._plan.runs - 2 * len(kinds) - NEW_IN_BURST * kinds.count("input-shuffled")
        async with asyncio.TaskGroup() as all_:
            all_.create_task(self._stream.steady(steady, self._plan.seconds))
            for kind, at in zip(kinds, times, strict=True):
                fault = KINDS[kind](self._world, self._stream, random.Random(self._chance.random()))
                all_.create_task(self._one(kind, fault, at))

    async def _one(self, kind: str, fault: Fault, at: float) -> None:
        """Let one fault strike, and wait for the recovery from it."""
        await asyncio.sleep(at)
        self._say(kind)
        self._stream.place(fault.place)
        await fault.strike()
        over = time.time()
        self._say(f"{kind}: over")
        self._stream.place(fault.place)
        seen, patience = self._kinds[kind], self._plan.patience
        seen.count += 1
        try:
            took = await asyncio.wait_for(fault.recovered(over), patience)
        except TimeoutError:
            took = patience
            self._wrong.append(f"{kind}: no run of the {fault.place} ended within {patience:g} s after it")
        seen.slowest_recovery_s = max(seen.slowest_recovery_s, round(took, 2))

    async def _judged(self) -> Verdict:
        wiped = "kafka-wiped" in self._kinds
        if wiped:
            for what in ("--outcomes", "--events"):
                since = ("--since", "2000-01-01T00:00:00Z")
                await run(*HOLDFAST, "republish", what, *since, environment=dict(self._world.settings["cluster"]))
        return await judge(self._world, self._stream, in_order=not wiped)

    def _report(self, verdict: Verdict) -> Report:
        return Report(
            runs=len(self._stream.placed),
            faults=sum(kind.count for kind in self._kinds.values()),
            kinds=dict(sorted(self._kinds.items())),
            double=verdict.double,
            lost=verdict.lost,
            stuck=verdict.stuck,
            seed=self._plan.seed,
            seconds=round(time.monotonic() - self._since, 1),
            resolved=self._person.verdicts,
            skipped=self._skipped,
            wrong=(*verdict.wrong, *self._wrong),
        )

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TELL_EVERY)
            self._say("")

    def _say(self, what: str) -> None:
        placed = len(self._stream.placed)
        figures = f"{placed} placed, {placed - self._stream.open} ended"
        print(f"{time.monotonic() - self._since:6.1f} s  {figures:30}  {what}".rstrip(), flush=True)


async def storm(folder: Path, plan: Plan) -> Report:
    """Tell the whole story in `folder`."""
    disk = 64 + plan.runs // 20
    async with open_world(folder, disk_size=disk) as world:
        print(f"storm: {plan.runs} runs, {plan.faults} faults over {plan.seconds:g} s, seed {plan.seed}", flush=True)
        return await Storm(plan, world).rage()


def table(report: Report) -> str:
    """Write a report for people."""
    lines = [f"{'kind':30}{'count':>6}{'slowest recovery':>20}"]
    lines += [f"{name:30}{kind.count:6}{kind.slowest_recovery_s:18.2f} s" for name, kind in report.kinds.items()]
    lines += [f"{name:30}  skipped: {why}" for name, why in report.skipped.items()]
    lines.append(
        f"{report.runs} runs, {report.faults} faults of {len(report.kinds)} kinds: double {report.double}, "
        f"lost {report.lost}, stuck {report.stuck} ({report.seconds:g} s, seed {report.seed})"
    )
    return "\n".join([*lines, *(f"  {what}" for what in report.wrong[:30])])
