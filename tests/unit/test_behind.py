"""A turn that asks for very much is recorded in parts; what comes in meanwhile is heard when it has come to its end."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec
import pytest

from holdfast.core import events as e
from holdfast.core.behind import PART_BYTES, TURN, Behind
from holdfast.core.commands import (
    CancelRun,
    Command,
    CompleteStep,
    ContinueTurn,
    ParkRun,
    ResumeRun,
    SignalRun,
    StartRun,
    TerminateRun,
)
from holdfast.core.messages import ClearTimer, Continue
from holdfast.core.payload import NOTHING, Payload
from holdfast.core.replay import Rebuilt, advance, advance_behind, resume
from holdfast.core.run import CANCELLED, COMPLETED, CONTINUED, PARKED, RUNNING, Run
from holdfast.sdk.continuing import continue_as_new
from holdfast.sdk.definitions import Workflow, step
from holdfast.sdk.program import LiveProgram
from holdfast.sdk.turn_limit import TURN_STEPS
from tests.unit.given import NOON, RUN_ID, SECOND, given

Code = Callable[..., Awaitable[Any]]
programs: list[LiveProgram] = []


@pytest.fixture(autouse=True)
def _evict() -> Iterator[None]:
    """Drop what stands still in the middle of a turn."""
    yield
    while programs:
        programs.pop().evict()


@step
async def behind_add(number: int) -> int:
    raise NotImplementedError(number)


@step
async def behind_read(text: str) -> int:
    raise NotImplementedError(text)


async def five() -> int:
    return sum(await asyncio.gather(*(behind_add(number) for number in range(5))))


class Running:
    """A run whose turns are cut after `part` requests; a second passes before each command."""

    def __init__(self, code: Code, *, part: int = 2, turn_steps: int = TURN_STEPS) -> None:
        self.code = code
        self.part = part
        self.turn_steps = turn_steps
        self.run = Run(RUN_ID)
        self.now = NOON
        self.program = self.new_program()
        self.behind = Behind()
        self.history: list[e.Recorded] = []

    def new_program(self, part: int | None = None) -> LiveProgram:
        definition: Workflow[..., Any] = Workflow(self.code, "behind", "1")
        program = LiveProgram(
            lambda _name, _version: definition,
            lambda payload: payload.data,
            "ns",
            RUN_ID,
            0,
            part=part or self.part,
            turn_steps=self.turn_steps,
        )
        programs.append(program)
        return program

    def hears(self, command: Command) -> list[str]:
        """Let a command have its effect; gives the names of the events that follow."""
        self.now += SECOND
        if isinstance(command, ResumeRun):
            self.program = self.new_program()
            rebuilt = self.rebuilt(self.program)
            self.behind = rebuilt.behind
            advanced = resume(rebuilt, self.program, command, self.now)
        elif self.run.behind and self.run.status == RUNNING:
            advanced = advance_behind(self.run, self.program, self.behind, command, self.now)
        else:
            program = self.program if self.run.status in {"", RUNNING} else None
            advanced = advance(self.run, program, command, self.now)
            self.behind = Behind(self.now)
        self.run = advanced.run
        for event in advanced.events:
            self.history.append(e.Recorded(len(self.history) + 1, self.now, event))
        return [type(event).__name__ for event in advanced.events]

    def starts(self) -> list[str]:
        return self.hears(StartRun(workflow="behind", version="1", input=NOTHING))

    def rebuilt(self, program: LiveProgram) -> Rebuilt:
        rebuilt = Rebuilt(Run(RUN_ID))
        rebuilt.replay(self.history, program)
        return rebuilt

    @property
    def last(self) -> e.Event:
        return self.history[-1].event


def done(number: int, name: str = "behind_add", result: Any = 1) -> CompleteStep:
    return CompleteStep(step_id=f"{name}#{number}", attempt=1, result=Payload(data=msgspec.json.encode(result)))


SCHEDULED = "StepScheduled"


def test_a_turn_is_cut_where_it_has_asked_for_enough_and_goes_on_part_by_part() -> None:
    running = Running(five)
    assert running.starts() == ["RunStarted", SCHEDULED, SCHEDULED, "TurnCut"]
    assert running.last == e.TurnCut(requests=2)
    assert running.hears(ContinueTurn(cut=running.run.behind)) == [SCHEDULED, SCHEDULED, "TurnCut"]
    assert running.hears(ContinueTurn(cut=running.run.behind)) == [SCHEDULED, "TurnEnded"]
    assert not running.run.behind
    for number in range(1, 6):
        running.hears(done(number))
    assert running.run.status == COMPLETED


def test_a_turn_that_asks_for_little_is_not_cut() -> None:
    assert "TurnCut" not in Running(five, part=512).starts()


def test_a_turn_is_cut_by_the_bytes_that_it_asks_for() -> None:
    async def reads() -> None:
        await asyncio.gather(*(behind_read("x" * 100_000) for _ in range(200)))

    running = Running(reads, part=512)
    recorded = running.starts().count(SCHEDULED)
    assert running.last == e.TurnCut(requests=recorded)
    assert PART_BYTES / 100_000 <= recorded < 200


def test_what_comes_in_while_the_code_is_behind_settles_at_once_and_is_heard_later() -> None:
    heard: list[str] = []

    async def two() -> None:
        async def one(number: int) -> None:
            heard.append(f"asks {number}")
            await behind_add(number)
            heard.append(f"has {number}")

        await asyncio.gather(*(one(number) for number in range(4)))

    running = Running(two)
    running.starts()
    assert running.hears(done(1)) == ["StepCompleted"]
    assert "behind_add#1" not in running.run.open_steps
    assert heard == ["asks 0", "asks 1"]
    running.hears(ContinueTurn(cut=running.run.behind))
    running.hears(ContinueTurn(cut=running.run.behind))
    assert heard == ["asks 0", "asks 1", "asks 2", "asks 3", "has 0"]
    assert not running.run.behind


def test_an_input_is_heard_at_the_time_at_which_it_was_recorded() -> None:
    times: list[float] = []

    async def timed() -> None:
        async def one(number: int) -> None:
            await behind_add(number)
            times.append(asyncio.get_running_loop().time())

        await asyncio.gather(*(one(number) for number in range(3)))

    running = Running(timed)
    running.starts()
    running.hears(done(1))
    recorded = running.now / SECOND
    running.now += 100 * SECOND
    while running.run.behind:
        running.hears(ContinueTurn())
    assert times == [recorded]


def test_a_run_that_has_still_to_hear_something_does_not_stand_still() -> None:
    """Else it would show as parked for an effect, and go on by itself."""
    running = Running(five)
    running.starts()
    parked = [e.StepParked(step_id=f"behind_add#{number}", reason="unclear") for number in (1, 2)]
    behind = given(*(one.event for one in running.history), *parked)
    assert behind.state().stands is None
    assert behind.when(ContinueTurn()).then().stands is None
    assert given(*(one.event for one in running.history), *parked, e.TurnEnded(requests=0)).state().stands


def test_a_stale_word_to_go_on_does_nothing_so_there_is_one_continuation_only() -> None:
    running = Running(five)
    running.starts()
    first = running.run.behind
    assert running.hears(ContinueTurn())
    assert running.hears(ContinueTurn(cut=first)) == []


def test_a_run_that_is_not_behind_does_not_go_on() -> None:
    running = Running(five, part=512)
    running.starts()
    assert running.hears(ContinueTurn()) == []


def test_a_cancellation_that_comes_while_the_code_is_behind_is_heard_after_the_turn() -> None:
    running = Running(five)
    running.starts()
    assert running.hears(CancelRun(reason="enough")) == ["CancelRequested"]
    assert running.hears(CancelRun(reason="again", message_id="m2")) == []
    while running.run.behind:
        running.hears(ContinueTurn())
    assert running.run.status == CANCELLED
    assert not running.run.open_steps


def test_a_run_that_ends_from_outside_is_behind_no_more() -> None:
    running = Running(five)
    running.starts()
    running.hears(TerminateRun(reason="enough"))
    assert not running.run.behind


def test_a_parked_run_is_still_behind_and_goes_on_where_it_was_cut_when_it_is_resumed() -> None:
    running = Running(five)
    running.starts()
    running.hears(done(1))
    running.hears(ParkRun(reason="refused"))
    running.hears(done(2))
    assert running.run.status == PARKED
    assert running.hears(ResumeRun(by="ada")) == ["RunResumed", SCHEDULED, SCHEDULED, "TurnCut"]
    while running.run.behind:
        running.hears(ContinueTurn())
    for number in range(3, 6):
        running.hears(done(number))
    assert running.run.status == COMPLETED


def test_a_run_that_is_behind_goes_on_as_new_only_when_its_code_has_heard_all_that_waits() -> None:
    """Else a cancellation would be lost, and a signal taken twice."""

    async def renews() -> None:
        tasks.extend(asyncio.create_task(behind_add(number)) for number in range(5))
        await asyncio.sleep(0)
        continue_as_new()

    tasks: list[asyncio.Task[int]] = []
    running = Running(renews)
    running.starts()
    assert running.hears(SignalRun(name="go", message_id="m1", input=NOTHING)) == ["SignalReceived"]
    while running.run.status == RUNNING:
        running.hears(ContinueTurn())
    assert running.run.status == CONTINUED
    rebuilt = running.rebuilt(running.new_program(512))
    assert rebuilt.run == running.run
    assert not rebuilt.behind.waiting


def test_loop_steps_are_counted_over_all_parts_of_a_turn() -> None:
    tasks: list[asyncio.Task[int]] = []

    async def spins() -> None:
        while True:
            tasks.append(asyncio.create_task(behind_add(1)))
            await asyncio.sleep(0)

    running = Running(spins, turn_steps=200)
    running.starts()
    for _ in range(200):
        if running.run.status == PARKED:
            break
        running.hears(ContinueTurn())
    assert running.run.parked is not None
    assert running.run.parked.reason == "turn_too_long"


def test_a_replay_cuts_where_history_says_whatever_its_own_limit_is() -> None:
    running = Running(five, part=2)
    running.starts()
    running.hears(done(1))
    running.hears(ContinueTurn())
    for part in (1, 2, 3, 512):
        program = running.new_program(part)
        rebuilt = running.rebuilt(program)
        assert rebuilt.run == running.run
        assert [one.event for one in rebuilt.behind.waiting] == [running.history[4].event]
        assert rebuilt.behind.has_more(program)


def test_what_a_cut_tells_the_outside_is_to_go_on_and_its_end_that_nobody_need_look() -> None:
    past = [one.event for one in cut().history[:-1]]
    given(*past).happens(e.TurnCut(requests=2)).tells(Continue(len(past) + 1))
    behind = [one.event for one in cut().history]
    given(*behind).happens(e.TurnEnded(requests=0)).tells(ClearTimer(TURN))


def test_of_a_parked_run_that_is_behind_the_sweeper_finds_no_timer() -> None:
    behind = [one.event for one in cut().history]
    given(*behind).happens(e.RunParked(reason="x", detail="")).tells(ClearTimer(TURN))


def cut() -> Running:
    running = Running(five)
    running.starts()
    return running
