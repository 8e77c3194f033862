"""Code that changed under a running run parks it with the difference; mended code goes on as if nothing was."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast.core import events as e
from holdfast.core.commands import CompleteStep, FireTimer, ParkRun, ResumeRun, SignalRun, StartRun
from holdfast.core.difference import difference, differing, text_of
from holdfast.core.payload import Payload
from holdfast.core.replay import Nondeterminism
from holdfast.core.retry import RetrySchedule
from holdfast.core.run import COMPLETED, PARKED
from holdfast.sdk.definitions import Workflow, signal, step
from tests.replay.worlds import RUN_ID, World


@step
async def change_read(note: str) -> str:
    raise NotImplementedError(note)


@step
async def change_charge(amount: int) -> int:
    raise NotImplementedError(amount)


Code = Callable[[], Awaitable[Any]]


def workflow_of(code: Code) -> Workflow[..., Any]:
    return Workflow(code, "changing", "1")


async def original() -> list[Any]:
    await asyncio.sleep(1)
    first = await change_read("note")
    second = await change_charge(5)
    return [first, second]


async def other_step() -> None:
    await asyncio.sleep(1)
    await change_charge(5)


async def other_argument() -> None:
    await asyncio.sleep(1)
    await change_read("another note")


async def less() -> None:
    await asyncio.sleep(1)


async def more() -> None:
    await asyncio.sleep(1)
    await asyncio.gather(change_read("note"), change_read("note"))


async def no_sleep() -> None:
    await change_read("note")


async def sooner_done() -> None:
    return


async def longer_sleep() -> list[Any]:
    await asyncio.sleep(99)
    first = await change_read("note")
    second = await change_charge(5)
    return [first, second]


def complete(step_id: str, data: bytes) -> CompleteStep:
    return CompleteStep(step_id=step_id, attempt=1, result=Payload(data=data))


def on_the_way() -> World:
    """A run that has slept and waits for its first step."""
    world = World(rebuilds=True, code=workflow_of(original))
    world.tell(StartRun(workflow="changing", version="1", input=Payload()))
    world.now += 1_000_000
    world.tell(FireTimer(timer_id="timer#1"))
    return world


def deploy(world: World, code: Code) -> None:
    world.code = workflow_of(code)


@pytest.mark.parametrize(
    ("code", "asked", "recorded"),
    [
        (other_step, 'asked for step "change_charge#1"', 'history has step "change_read#1" at seq 4'),
        (
            other_argument,
            'asked for step "change_read#1" with other arguments',
            'history has step "change_read#1" at seq 4',
        ),
        (less, "asked for RunCompleted", 'history has step "change_read#1" at seq 4'),
        (more, 'asked for step "change_read#2"', "history has nothing more at seq 5"),
        (no_sleep, 'asked for step "change_read#1"', 'history has timer "timer#1" at seq 2'),
        (sooner_done, "asked for RunCompleted", 'history has timer "timer#1" at seq 2'),
    ],
)
def test_the_difference_is_told(code: Code, asked: str, recorded: str) -> None:
    world = on_the_way()
    deploy(world, code)
    with pytest.raises(Nondeterminism) as told:
        world.tell(SignalRun(name="x", message_id="m", input=Payload()))
    assert told.value.reason == "nondeterminism"
    assert asked in str(told.value)
    assert recorded in str(told.value)
    assert f"holdfast resume {RUN_ID}" in str(told.value)


def told(code: Code) -> list[str]:
    """The text of the difference, line by line."""
    world = on_the_way()
    deploy(world, code)
    with pytest.raises(Nondeterminism) as error:
        world.tell(SignalRun(name="x", message_id="m", input=Payload()))
    return str(error.value).splitlines()


def line_in(code: Callable[..., Any], text: str) -> str:
    """The author's line, as an error names it."""
    lines, first = inspect.getsourcelines(code)
    at = next(number for number, line in enumerate(lines) if text in line)
    return f"  {__file__}:{first + at}  {lines[at].strip()}"


def test_other_arguments_are_shown_beside_those_of_the_history_with_the_line_that_asks() -> None:
    assert told(other_argument)[1:5] == [
        '  asked    "another note"',
        '  history  "note"',
        line_in(other_argument, "change_read"),
        '  before it: 1 RunStarted "changing", 2 timer "timer#1", 3 TimerFired "timer#1"',
    ]


async def aside() -> None:
    await asyncio.sleep(1)
    async with asyncio.TaskGroup() as group:
        group.create_task(nested())


async def nested() -> None:
    await change_charge(5)


async def gathered() -> None:
    await asyncio.sleep(1)
    await asyncio.gather(change_charge(5), change_charge(6))


async def sleeps_instead() -> None:
    await asyncio.sleep(1)
    await asyncio.sleep(2)


@pytest.mark.parametrize(
    ("code", "where", "text"),
    [
        (aside, nested, "change_charge"),
        (gathered, gathered, "asyncio.gather"),
        (sleeps_instead, sleeps_instead, "sleep(2)"),
        (other_step, other_step, "change_charge"),
    ],
)
def test_the_line_that_asks_is_named_wherever_it_stands(code: Code, where: Callable[..., Any], text: str) -> None:
    assert line_in(where, text) in told(code)


def test_a_step_of_another_function_under_the_same_id_is_told() -> None:
    def other(name: str) -> e.StepScheduled:
        options: dict[str, Any] = {"queue": "default", "retry": RetrySchedule(), "timeout": 1.0, "input_hash": b""}
        return e.StepScheduled(step_id="left", name=name, kind="step", input=Payload(), **options)

    assert difference(other("grind"), other("polish"), 7, [], "") == (
        'the code asked for step "left" of grind(), history has step "left" of polish() at seq 7'
    )


def test_long_arguments_are_shown_from_a_little_before_they_differ() -> None:
    asked, history = differing(f"[{'1,' * 5000}2]", f"[{'1,' * 5000}3,{'4' * 9000}]")
    assert asked == f"asked    …{'1,' * 20}2]"
    assert history.startswith(f"history  …{'1,' * 20}3,444")
    assert len(history) < 400
    assert differing("[1]", "[1,2]") == ["asked    [1]", "history  [1,2]"]


def test_large_and_unreadable_arguments_are_named_in_stead_of_shown() -> None:
    assert text_of(Payload(data=b"", blob="abc")) == "(a large value, kept as abc)"
    assert text_of(Payload(content_type="avro/binary", data=b"123")) == "(3 bytes of avro/binary)"
    assert text_of(Payload(data=b'"\xff"')) == '"\\xff"'


def test_what_only_changes_how_long_is_no_difference() -> None:
    world = on_the_way()
    deploy(world, longer_sleep)
    world.tell(complete("change_read#1", b'"r"'))
    world.tell(complete("change_charge#1", b"5"))
    assert world.run.status == COMPLETED


def park(world: World) -> None:
    """The engine finds that the code does not fit, and parks the run."""
    world.tell(ParkRun(reason="nondeterminism", detail="why"))


def kinds(world: World) -> list[str]:
    return [type(one.event).__name__ for one in world.history]


def test_what_came_in_while_parked_is_heard_in_its_order_after_the_code_is_mended() -> None:
    world = on_the_way()
    park(world)
    world.tell(SignalRun(name="x", message_id="m1", input=Payload()))
    assert world.tell(complete("change_read#1", b'"r"')) == [
        e.StepCompleted(step_id="change_read#1", attempt=1, result=Payload(data=b'"r"'))
    ]
    happened = world.tell(ResumeRun(by="ada"))
    assert [type(event).__name__ for event in happened] == ["RunResumed", "StepScheduled"]
    world.tell(complete("change_charge#1", b"5"))
    assert world.run.status == COMPLETED
    assert world.history[-1].event == e.RunCompleted(result=Payload(data=b'["r",5]'))


def test_a_resume_with_code_that_still_does_not_fit_sticks_again_and_loses_nothing() -> None:
    world = on_the_way()
    park(world)
    world.tell(complete("change_read#1", b'"r"'))
    for code in (other_step, less, more):
        deploy(world, code)
        happened = world.tell(ResumeRun())
        assert [type(event).__name__ for event in happened] == ["RunResumed", "RunParked"]
        assert world.run.status == PARKED
    deploy(world, original)
    world.tell(ResumeRun())
    world.tell(complete("change_charge#1", b"5"))
    assert world.run.status == COMPLETED
    assert kinds(world).count("RunParked") == 4


async def listening() -> list[int]:
    return [await signal("go", int) for _ in range(3)]


def test_an_input_in_the_middle_of_those_that_wait_may_stick_again() -> None:
    world = on_the_way()
    park(world)
    world.tell(complete("change_read#1", b"7"))  # no text: the code cannot take it
    world.tell(SignalRun(name="x", message_id="m1", input=Payload()))
    happened = world.tell(ResumeRun())
    assert [type(event).__name__ for event in happened] == ["RunResumed", "RunParked"]
    assert world.run.parked is not None
    assert world.run.parked.reason == "unfit_result"
    world.tell(SignalRun(name="x", message_id="m2", input=Payload()))
    happened = world.tell(ResumeRun())
    assert [type(event).__name__ for event in happened] == ["RunResumed", "RunParked"]


@pytest.mark.parametrize("parked_at", range(5))
def test_a_run_that_was_parked_anywhere_ends_as_one_that_never_was(parked_at: int) -> None:
    """Parked and resumed between any two events; the result is the same."""
    world = World(rebuilds=True, code=workflow_of(listening))
    steps: list[Callable[[], Any]] = [
        lambda: world.tell(StartRun(workflow="changing", version="1", input=Payload())),
        *(
            lambda n=n: world.tell(SignalRun(name="go", message_id=f"m{n}", input=Payload(data=b"%d" % n)))
            for n in range(3)
        ),
    ]
    for number, happen in enumerate(steps):
        happen()
        if number == parked_at and not world.run.ended:
            park(world)
        elif number == parked_at + 1 and not world.run.ended:
            world.tell(ResumeRun())
    if world.run.status == PARKED:
        world.tell(ResumeRun())
    assert world.history[-1].event == e.RunCompleted(result=Payload(data=b"[0,1,2]"))
