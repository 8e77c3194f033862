"""Random workflows in a small world: plans that say what the code does, and chance that says what happens to it.

Laws of this file:
- The code of a plan uses asyncio as an author would; whatever it sees goes into its result.
- What happens is drawn from one generator and from the run's state only, so that the same seed asks the same of a world
  that keeps its program in memory and of one that rebuilds it from history before each event.
"""

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from holdfast.adapters.avro.codec import AvroCodec
from holdfast.app.orchestrator.run_cache import reprogram
from holdfast.core import events as e
from holdfast.core.behind import PART, Behind
from holdfast.core.commands import (
    AttemptStep,
    CancelRun,
    Command,
    CompleteStep,
    ContinueTurn,
    FailStep,
    FireTimer,
    HearLedger,
    ResolveEffect,
    ResumeRun,
    SignalRun,
    StartRun,
)
from holdfast.core.payload import Payload
from holdfast.core.replay import ProgramStuck, Rebuilt, advance, advance_behind, resume
from holdfast.core.retry import Failure
from holdfast.core.run import PARKED, RUNNING, Run, evolve
from holdfast.core.settling import OpenStep
from holdfast.sdk.definitions import Retry, StepError, Workflow, hours, signal, step, workflow
from holdfast.sdk.effects import effect
from holdfast.sdk.program import LiveProgram
from holdfast.sdk.values import GIVEN
from tests.replay import scopes

Plan = list[Any]

CODEC = AvroCodec()
RUN_ID = "world-1"
START = 1_700_000_000_000_000
SIGNALS = ("left", "right")
KINDS = ("step", "effect", "sleep", "signal", "chance", "poll")
LEDGER = {False: ("",), True: ("PLANNED", "IN_DOUBT", "FAILED")}
"""The states in which a failed attempt leaves the ledger: of a step, none."""
NESTS = ("gather", "group", "timeout", "race", "completed", "spawn", "try", "events", "queue", "shield", *scopes.NESTS)


class Number:
    """A result that only mended code understands when it comes as a text."""

    mended = False

    def __init__(self, value: int) -> None:
        self.value = value

    @staticmethod
    def model_validate(value: object) -> "Number":
        if isinstance(value, int):
            return Number(value)
        if Number.mended:
            return Number(-1)
        raise ValueError("a number was expected")


@step(retry=Retry(attempts=2, initial=1.0, jitter=0.5))
async def world_step(name: str) -> Number:
    raise NotImplementedError(name)


@effect(guard="provider_key", window=hours(24), retry=Retry(attempts=2, initial=1.0))
async def world_effect(name: str, *, key: str = GIVEN) -> Number:
    raise NotImplementedError(name, key)


@workflow
async def world(plan: Plan) -> list[Any]:
    seen: list[Any] = []
    spawned: list[asyncio.Task[None]] = []
    await follow(plan, seen, spawned)
    for task in spawned:
        try:
            await task
        except StepError as error:
            seen.append(f"late {error.failure.type}")
    return seen


async def follow(plan: Plan, seen: list[Any], spawned: list[asyncio.Task[None]]) -> None:
    for act in plan:
        await perform(act[0], act[1:], seen, spawned)


async def perform(  # noqa: C901, PLR0912 - one match with a case for every act: a table, not a maze
    kind: str, words: Plan, seen: list[Any], spawned: list[asyncio.Task[None]]
) -> None:
    def each() -> list[Any]:
        return [follow(part, seen, spawned) for part in words[0]]

    match kind:
        case "step":
            seen.append((await world_step(words[0])).value)
        case "effect":
            seen.append((await world_effect(words[0])).value)
        case "sleep":
            await asyncio.sleep(words[0])
            seen.append(round(workflow.now().timestamp(), 3))
        case "signal":
            seen.append([words[0], await signal(words[0], int)])
        case "chance":
            seen.append([workflow.random().random(), str(workflow.uuid4())])
        case "poll":
            await poll(seen, words[0])
        case "gather":
            seen.append([repr(one) for one in await asyncio.gather(*each(), return_exceptions=True)])
        case "group":
            try:
                async with asyncio.TaskGroup() as group:
                    for one in each():
                        group.create_task(one)
            except* StepError as errors:
                seen.append(sorted(str(error) for error in errors.exceptions))
        case "timeout":
            try:
                async with asyncio.timeout(words[1]):
                    await asyncio.gather(*each())
            except TimeoutError:
                seen.append("too late")
        case "race":
            tasks = {asyncio.create_task(one) for one in each()}
            if tasks:
                _, slow = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in slow:
                    task.cancel()
                seen.append([repr(one) for one in await asyncio.gather(*tasks, return_exceptions=True)])
        case "completed":
            for one in asyncio.as_completed(each()):
                try:
                    seen.append(repr(await one))
                except StepError as error:
                    seen.append(str(error))
        case "spawn":
            spawned.extend(asyncio.create_task(one) for one in each())
        case "try":
            try:
                for part in words[0]:
                    await follow(part, seen, spawned)
            except StepError as error:
                seen.append(str(error))
            finally:
                seen.append("tried")
        case "events":
            await by_event(each(), seen)
        case "queue":
            await by_queue(words[0], seen, spawned)
        case "shield":
            for part in words[0]:
                await asyncio.shield(asyncio.create_task(follow(part, seen, spawned)))
        case _:
            await scopes.perform(kind, [partial(follow, part, seen, spawned) for part in words[0]], words[1], seen)


async def poll(seen: list[Any], name: str) -> None:
    """Wait for a signal a few times, as long as patience lasts."""
    for _ in range(3):
        try:
            seen.append(await asyncio.wait_for(signal(name), 5.0))
            return
        except TimeoutError:
            seen.append("nothing yet")


async def by_event(parts: list[Any], seen: list[Any]) -> None:
    done = asyncio.Event()

    async def waiting(number: int) -> None:
        await done.wait()
        seen.append(f"woken {number}")

    waiters = [asyncio.create_task(waiting(number)) for number in range(2)]
    try:
        await asyncio.gather(*parts)
    finally:
        done.set()
        await asyncio.gather(*waiters)


async def by_queue(parts: list[Plan], seen: list[Any], spawned: list[asyncio.Task[None]]) -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(1)

    async def make(number: int, part: Plan) -> None:
        try:
            await follow(part, seen, spawned)
        finally:
            await queue.put(number)

    makers = [asyncio.create_task(make(number, part)) for number, part in enumerate(parts)]
    seen.extend([await queue.get() for _ in makers])
    await asyncio.gather(*makers, return_exceptions=True)


def make_plan(chance: random.Random, depth: int = 3, length: int = 3) -> Plan:
    """Draw what the code does."""
    return [make_act(chance, depth) for _ in range(chance.randint(1, length))]


def make_act(chance: random.Random, depth: int) -> Plan:
    kind = chance.choice(KINDS if depth == 0 else (*KINDS, *NESTS, *NESTS))
    match kind:
        case "step" | "effect":
            return [kind, chance.choice("abc")]
        case "sleep":
            return [kind, chance.choice((0.0, 1.0, 1.5, 10.0, 86_400.0))]
        case "signal" | "poll":
            return [kind, chance.choice(SIGNALS)]
        case "chance":
            return [kind]
        case _:
            parts = [make_plan(chance, depth - 1, 2) for _ in range(chance.randint(1, 3))]
            return [kind, parts, chance.choice((0.5, 2.0, 20.0))]


def no_blob(payload: Payload) -> bytes:
    return payload.data


class World:
    """One run, what is open in it, and the time. Its turns are cut after `part` requests."""

    def __init__(self, *, rebuilds: bool, code: Workflow[..., Any] = world, part: int = PART) -> None:
        self.rebuilds = rebuilds
        self.part = part
        self.behind = Behind()
        self.code = code
        self.run = Run(RUN_ID)
        self.history: list[e.Recorded] = []
        self.now = START
        self.program: Any = self.new_program(RUN_ID, 0)
        self.signals = 0

    def new_program(self, run_id: str, incarnation: int) -> LiveProgram:
        return LiveProgram(lambda _name, _version: self.code, no_blob, "test", run_id, incarnation, part=self.part)

    def begin(self, plan: Plan) -> None:
        data = msgspec.json.encode(plan)
        self.tell(StartRun(workflow="world", version="1", input=Payload(data=data)))

    def tell(self, command: Command) -> list[e.Event]:
        """One command, one turn, as the orchestrator would."""
        if self.rebuilds and self.run.status == RUNNING:
            self.program.evict()
            self.program, rebuilt = reprogram(RUN_ID, 0, self.history, self.new_program)
            assert rebuilt.run == self.run
            self.behind = rebuilt.behind
            assert self.run.behind or not rebuilt.behind.waiting
        was_behind = self.run.behind
        if isinstance(command, ResumeRun):
            run, happened = self._resume(command)
        elif was_behind and self.run.status == RUNNING:
            advanced = advance_behind(self.run, self.program, self.behind, command, self.now)
            run, happened = advanced.run, advanced.events
        else:
            program = self.program if self.run.status in {RUNNING, ""} else None
            advanced = advance(self.run, program, command, self.now)
            run, happened = advanced.run, advanced.events
            if run.behind and not was_behind:
                self.behind = Behind(self.now, advanced.unheard)
        self.run = run
        for event in happened:
            decoded = CODEC.decode_event(type(event).__name__, CODEC.encode_event(event))
            assert decoded == event
            self.history.append(e.Recorded(len(self.history) + 1, self.now, decoded))
        if self.run.status != RUNNING:
            self.program.evict()
        return happened

    def _resume(self, command: ResumeRun) -> tuple[Run, list[e.Event]]:
        try:
            self.program, rebuilt = reprogram(RUN_ID, 0, self.history, self.new_program)
        except ProgramStuck as stuck:
            went_on, parked = e.RunResumed(by=command.by), e.RunParked(reason=stuck.reason, detail=str(stuck))
            return evolve(evolve(self.run, went_on), parked), [went_on, parked]
        assert rebuilt.run == self.run
        self.behind = rebuilt.behind
        resumed = resume(rebuilt, self.program, command, self.now)
        return resumed.run, resumed.events

    def close(self) -> None:
        self.program.evict()

    # -- what may happen

    def possible(self, *, trouble: bool) -> list[Callable[[random.Random], Command]]:
        """Everything that may happen next, in an order that follows from the state alone."""
        found: list[Callable[[random.Random], Command]] = [self._signal]
        for step_id, open_step in self.run.open_steps.items():
            if open_step.due_at is not None:
                if self.run.status == RUNNING:
                    found.append(self._attempt(step_id, open_step.attempt, open_step.due_at))
            else:
                found += [self._complete(step_id, open_step.attempt), self._complete(step_id, open_step.attempt)]
                found += [self._fail(step_id, open_step.attempt, state) for state in LEDGER[open_step.is_effect]]
                if open_step.is_effect:
                    found += self._words(step_id, open_step)
                if trouble:
                    found.append(self._complete(step_id, open_step.attempt, b'"text"'))
        if self.run.timers and self.run.status == RUNNING:
            timer_id, due_at = min(self.run.timers.items(), key=lambda one: (one[1], one[0]))
            found += [self._fire(timer_id, due_at)] * 3
        if self.run.status == PARKED:
            found += [lambda _: ResumeRun(by="ada")] * 2
        if self.run.behind and self.run.status == RUNNING:
            found += [lambda _: ContinueTurn()] * 4
        if self.run.seq > 12 and len(self.run.cancels) < 2:
            found.append(self._cancel)
        return found

    def _signal(self, chance: random.Random) -> Command:
        self.signals += 1
        data = msgspec.json.encode(self.signals if chance.random() < 0.9 else "no number")
        return SignalRun(name=chance.choice(SIGNALS), message_id=f"m{self.signals}", input=Payload(data=data))

    def _cancel(self, chance: random.Random) -> Command:
        if chance.random() > 0.2:
            return self._signal(chance)
        return CancelRun(reason="enough", message_id=f"c{len(self.history)}")

    def _complete(self, step_id: str, attempt: int, data: bytes | None = None) -> Callable[[random.Random], Command]:
        def happen(chance: random.Random) -> Command:
            result = Payload(data=data or b"%d" % chance.randrange(100))
            return CompleteStep(step_id=step_id, attempt=attempt, result=result)

        return happen

    def _fail(self, step_id: str, attempt: int, state: str) -> Callable[[random.Random], Command]:
        error = Failure("OSError", f"no {step_id}", kinds=("builtins.OSError",))
        return lambda _: FailStep(step_id=step_id, attempt=attempt, error=error, at=self.now, ledger=state)

    def _words(self, step_id: str, step: OpenStep) -> list[Callable[[random.Random], Command]]:
        """What the ledger may say of an effect, and a person."""
        states = ["PARKED"]
        if step.withdrawn or step.exhausted is not None:
            states += ["CANCELLED", "CANCELLED"]
        if step.parked is not None or step.resolving:
            states = ["PLANNED", *(states if step.parked is None else [])]
        retry = ResolveEffect(step_id=step_id, version=4, verdict="retry", by="ada", reason="looked")
        return [*(self._word(step_id, state) for state in states), lambda _: retry]

    def _word(self, step_id: str, state: str) -> Callable[[random.Random], Command]:
        return lambda _: HearLedger(step_id=step_id, state=state, reason="unclear")

    def _attempt(self, step_id: str, attempt: int, due_at: int) -> Callable[[random.Random], Command]:
        def happen(_: random.Random) -> Command:
            self.now = max(self.now, due_at)
            return AttemptStep(step_id=step_id, attempt=attempt)

        return happen

    def _fire(self, timer_id: str, due_at: int) -> Callable[[random.Random], Command]:
        def happen(_: random.Random) -> Command:
            self.now = max(self.now, due_at)
            return FireTimer(timer_id=timer_id)

        return happen


def live(plan: Plan, seed: int, *, rebuilds: bool, trouble: bool = False, most: int = 90, part: int = PART) -> World:
    """Let chance happen to a plan until it ends, or long enough."""
    Number.mended = False
    chance = random.Random(seed)
    found = World(rebuilds=rebuilds, part=part)
    found.begin(plan)
    for _ in range(most):
        if found.run.ended:
            break
        found.now += chance.choice((0, 1, 1000, 700_000))
        if trouble and found.run.status == PARKED and chance.random() < 0.3:
            Number.mended = True  # from here on the code understands
        happening = chance.choice(found.possible(trouble=trouble))
        found.tell(happening(chance))
    return found


def replayed(history: list[e.Recorded], part: int = PART) -> Rebuilt:
    """Rebuild a run from its history alone."""
    program = LiveProgram(lambda _name, _version: world, no_blob, "test", RUN_ID, 0, part=part)
    rebuilt = Rebuilt(Run(RUN_ID))
    try:
        rebuilt.replay(history, program)
    finally:
        program.evict()
    return rebuilt


def stored(history: list[e.Recorded]) -> list[tuple[int, int, str, str]]:
    """A history as it would stand in a store."""
    return [(one.seq, one.at, type(one.event).__name__, CODEC.encode_event(one.event).hex()) for one in history]


def read(rows: list[tuple[int, int, str, str]]) -> list[e.Recorded]:
    return [e.Recorded(seq, at, CODEC.decode_event(kind, bytes.fromhex(data))) for seq, at, kind, data in rows]


def state(run: Run) -> str:
    """A run's state as text; what it keeps as a set has no order."""
    return repr(msgspec.to_builtins(run, order="deterministic"))
