"""A workflow's code standing still between two events: what it asks for, and what it makes of what it hears."""

import asyncio
import datetime as dt
import gc
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any
from zlib import crc32

import pytest

from holdfast.app.records import rfc3339
from holdfast.core import events as e
from holdfast.core.commands import (
    AbandonStep,
    CancelTimer,
    CompleteRun,
    ConcludeCancel,
    FailRun,
    RefuseSignal,
    Request,
    ScheduleStep,
    StartTimer,
)
from holdfast.core.identity import effect_id
from holdfast.core.payload import Payload
from holdfast.core.replay import ProgramStuck
from holdfast.core.retry import Failure
from holdfast.sdk.definitions import StepError, Workflow, hours, signal, step, workflow
from holdfast.sdk.effects import effect
from holdfast.sdk.program import FOR_EVER, LiveProgram
from holdfast.sdk.values import GIVEN

NOON = 1_700_000_000_000_000
SECOND = 1_000_000


@step
async def program_read(note: str) -> int:
    raise NotImplementedError(note)


@effect(guard="provider_key", window=hours(24))
async def program_charge(amount: int, *, key: str = GIVEN) -> int:
    raise NotImplementedError(amount, key)


class Code:
    """A program, told of events one by one."""

    def __init__(self, function: Callable[..., Awaitable[Any]]) -> None:
        self.blobs: dict[str, bytes] = {}
        definition: Workflow[..., Any] = Workflow(function, "code", "1")
        self.program = LiveProgram(lambda _name, _version: definition, self.read, "ns", "run-1", 0)
        self.now = NOON

    def read(self, payload: Payload) -> bytes:
        return payload.data if payload.blob is None else self.blobs[payload.blob]

    def hears(self, event: e.Event, after: float = 0) -> Sequence[Request]:
        self.now += int(after * SECOND)
        return self.program.apply(event, self.now)

    def starts(self, data: bytes = b"null") -> Sequence[Request]:
        return self.hears(e.RunStarted(workflow="code", version="1", input=Payload(data=data)))

    def completed(self, step_id: str, data: bytes) -> Sequence[Request]:
        return self.hears(e.StepCompleted(step_id=step_id, attempt=1, result=Payload(data=data)))

    def told(self, name: str, data: bytes, message_id: str = "m") -> Sequence[Request]:
        return self.hears(e.SignalReceived(message_id=message_id, name=name, input=Payload(data=data)))


def names(requests: Sequence[Request]) -> list[str]:
    return [type(request).__name__ for request in requests]


def failure(requests: Sequence[Request]) -> Failure:
    assert isinstance(requests[-1], FailRun), requests
    return requests[-1].error


def test_a_call_is_a_request_with_its_number() -> None:
    async def code(note: str) -> list[int]:
        return [await program_read(note), await program_read(note)]

    told = Code(code)
    (asked,) = told.starts(b'"n"')
    assert isinstance(asked, ScheduleStep)
    assert (asked.step_id, asked.name, asked.kind, asked.input.data, asked.at) == (
        "program_read#1", "program_read", "step", b'"n"', NOON,
    )  # fmt: skip
    (asked,) = told.completed("program_read#1", b"1")
    assert isinstance(asked, ScheduleStep)
    assert asked.step_id == "program_read#2"
    assert told.completed("program_read#2", b"2") == [CompleteRun(result=Payload(data=b"[1,2]"))]


def test_an_effect_has_a_key_that_is_its_own() -> None:
    async def code() -> None:
        await asyncio.gather(program_charge(1), program_charge(2))

    keys = [request.key for request in Code(code).starts() if isinstance(request, ScheduleStep)]
    assert keys == [effect_id("ns", "run-1", 0, f"program_charge#{number}") for number in (1, 2)]


def test_a_call_may_have_an_id_of_its_own_once() -> None:
    async def code() -> None:
        await asyncio.gather(program_read.options(id="left")("a"), program_read("b"))
        await program_read.options(id="left")("c")

    told = Code(code)
    assert [request.step_id for request in told.starts() if isinstance(request, ScheduleStep)] == [
        "left", "program_read#1",
    ]  # fmt: skip
    told.completed("left", b"1")
    assert "an id is used once in a run" in failure(told.completed("program_read#1", b"1")).message


@pytest.mark.parametrize("explicit", ["a#1", "a/b"])
def test_an_id_of_its_own_is_no_number_and_no_path(explicit: str) -> None:
    async def code() -> None:
        await program_read.options(id=explicit)("a")

    assert failure(Code(code).starts()).type == "ValueError"


def test_a_call_that_cannot_be_encoded_takes_no_number() -> None:
    async def code() -> None:
        for note in (object(), "n"):
            try:
                await program_read(note)  # type: ignore[arg-type]  # the mistake that is shown
            except TypeError:
                continue

    (asked,) = Code(code).starts()
    assert isinstance(asked, ScheduleStep)
    assert asked.step_id == "program_read#1"


def test_a_failed_step_raises_where_it_is_awaited_and_its_error_may_end_the_run() -> None:
    async def code() -> None:
        await program_read("n")

    told = Code(code)
    told.starts()
    error = Failure("OSError", "no such note", step="program_read#1")
    requests = told.hears(e.StepFailed(step_id="program_read#1", attempt=3, error=error))
    assert requests == [FailRun(error=error)]


def test_a_failed_step_may_be_caught() -> None:
    async def code() -> str:
        try:
            await program_read("n")
        except StepError as error:
            return error.failure.message
        return ""

    told = Code(code)
    told.starts()
    error = Failure("OSError", "no such note")
    assert told.hears(e.StepFailed(step_id="program_read#1", attempt=1, error=error)) == [
        CompleteRun(result=Payload(data=b'"no such note"'))
    ]


def test_a_timeout_gives_up_the_step_and_a_success_the_timer() -> None:
    async def code() -> str:
        try:
            async with asyncio.timeout(10):
                await program_read("slow")
        except TimeoutError:
            return "too late"
        return "in time"

    late = Code(code)
    assert names(late.starts()) == ["StartTimer", "ScheduleStep"]
    assert late.hears(e.TimerFired(timer_id="timer#1"), after=10) == [
        AbandonStep(step_id="program_read#1"),
        CompleteRun(result=Payload(data=b'"too late"')),
    ]
    soon = Code(code)
    soon.starts()
    assert soon.completed("program_read#1", b"1") == [
        CancelTimer(timer_id="timer#1"),
        CompleteRun(result=Payload(data=b'"in time"')),
    ]


def test_what_comes_for_a_step_that_was_given_up_is_not_heard() -> None:
    async def code() -> None:
        try:
            async with asyncio.timeout(1):
                await program_read("slow")
        except TimeoutError:
            await signal("never")

    told = Code(code)
    told.starts()
    told.hears(e.TimerFired(timer_id="timer#1"), after=1)
    assert told.completed("program_read#1", b"1") == []


@pytest.mark.parametrize("seconds", [1e300, 1e12])
def test_a_wait_longer_than_time_itself_is_a_wait(seconds: float) -> None:
    async def code() -> None:
        await asyncio.sleep(seconds)

    (asked,) = Code(code).starts()
    assert isinstance(asked, StartTimer)
    assert NOON < asked.due_at <= FOR_EVER


@pytest.mark.parametrize("delay", [1e12, 1e300, 1.7e308])
def test_a_wait_beyond_the_year_9999_ends_with_it(delay: float) -> None:
    async def code() -> None:
        async with asyncio.timeout(delay):
            asyncio.get_running_loop().call_later(delay, print)
            await asyncio.sleep(delay)

    timers = Code(code).starts()
    assert [rfc3339(timer.due_at) for timer in timers if isinstance(timer, StartTimer)] == [
        "9999-12-31T23:59:59+00:00"
    ] * 3


@pytest.mark.parametrize("delay", [math.inf, math.nan, -math.inf, -1.0])
def test_a_wait_that_never_ends_or_is_over_is_no_timer(delay: float) -> None:
    async def code() -> str:
        loop = asyncio.get_running_loop()
        try:
            loop.call_later(delay, print).cancel()
        except ValueError as error:
            return str(error)
        return "taken"

    (end,) = Code(code).starts()
    assert isinstance(end, CompleteRun)
    assert (b"NaN" in end.result.data) is math.isnan(delay)


def test_signals_are_kept_until_they_are_asked_for_each_name_apart() -> None:
    async def code() -> list[Any]:
        await program_read("n")
        return [await signal("b", str), await signal("a", int), await signal("a")]

    told = Code(code)
    told.starts()
    told.told("a", b"1")
    told.told("b", b'"x"')
    told.completed("program_read#1", b"1")
    assert told.told("a", b"2") == [CompleteRun(result=Payload(data=b'["x",1,2]'))]


def test_a_large_signal_that_is_kept_is_read_when_it_comes() -> None:
    async def code() -> str:
        await program_read("n")
        return await signal("a", str)

    told = Code(code)
    told.starts()
    told.blobs["large"] = b'"x"'
    told.hears(e.SignalReceived(message_id="m", name="a", input=Payload(data=b"", blob="large")))
    told.blobs.clear()
    assert told.completed("program_read#1", b"1") == [CompleteRun(result=Payload(data=b'"x"'))]


def test_waiting_for_a_signal_in_vain_leaves_nothing_behind() -> None:
    async def code() -> int:
        while True:
            try:
                async with asyncio.timeout(1):
                    return await signal("go", int)
            except TimeoutError:
                continue

    told = Code(code)
    told.starts()
    for number in range(1, 200):
        told.hears(e.TimerFired(timer_id=f"timer#{number}"), after=1)
    signals = told.program._signals  # noqa: SLF001 - what nobody else can see grow
    assert signals is not None
    assert signals.waits == 1
    assert told.told("go", b"7")[-1] == CompleteRun(result=Payload(data=b"7"))


def refused(requests: Sequence[Request]) -> list[str]:
    return [request.message_id for request in requests if isinstance(request, RefuseSignal)]


def test_a_signal_that_does_not_fit_is_refused_and_the_wait_goes_on() -> None:
    async def code() -> int:
        return await signal("go", int)

    told = Code(code)
    told.starts()
    (asked,) = told.told("go", b'"x"', "m-1")
    assert isinstance(asked, RefuseSignal)
    assert (asked.message_id, asked.name, asked.input.data) == ("m-1", "go", b'"x"')
    assert "signal 'go' does not fit" in asked.detail
    assert told.told("go", b"7", "m-2") == [CompleteRun(result=Payload(data=b"7"))]


def test_a_signal_that_was_kept_is_refused_when_it_is_asked_for_as_something_else() -> None:
    async def code() -> int:
        await program_read("n")
        return await signal("go", int)

    told = Code(code)
    told.starts()
    for message_id, data in (("m-1", b'"x"'), ("m-2", b"1.5"), ("m-3", b"3"), ("m-4", b"4")):
        assert told.told("go", data, message_id) == []
    requests = told.completed("program_read#1", b"1")
    assert refused(requests) == ["m-1", "m-2"]
    assert requests[-1] == CompleteRun(result=Payload(data=b"3"))


def test_a_signal_that_does_not_fit_the_first_wait_leaves_it_first() -> None:
    async def code() -> list[Any]:
        return list(await asyncio.gather(signal("go", int), signal("go", str)))

    told = Code(code)
    told.starts()
    assert refused(told.told("go", b'"x"', "m-1")) == ["m-1"]
    told.told("go", b"1", "m-2")
    assert told.told("go", b'"x"', "m-3") == [CompleteRun(result=Payload(data=b'[1,"x"]'))]


@pytest.mark.parametrize("name", [5, "", None])
def test_a_signal_is_waited_for_by_a_name(name: Any) -> None:
    async def code() -> None:
        await signal(name, int)

    assert f"signal({name!r}): a name is a text" in failure(Code(code).starts()).message


@pytest.mark.parametrize("kind", [5, "int", [int]])
def test_a_signal_is_waited_for_as_a_type(kind: Any) -> None:
    async def code() -> None:
        await signal("go", kind)

    assert "signal('go', …): " in failure(Code(code).starts()).message


def test_a_cancellation_may_be_answered_with_steps() -> None:
    async def code() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await program_read("undo")

    told = Code(code)
    told.starts()
    assert names(told.hears(e.CancelRequested())) == ["CancelTimer", "ScheduleStep"]
    assert told.completed("program_read#1", b"1") == [ConcludeCancel()]


def test_time_and_chance_are_the_runs_own() -> None:
    async def code() -> list[str]:
        await program_read("n")
        return [workflow.now().isoformat(), str(workflow.random().random()), str(workflow.uuid4())]

    def result() -> bytes:
        told = Code(code)
        told.starts()
        told.now = NOON + 5 * SECOND
        (end,) = told.completed("program_read#1", b"1")
        assert isinstance(end, CompleteRun)
        return end.result.data

    assert result() == result()
    assert (
        dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(microseconds=NOON + 5 * SECOND)
    ).isoformat().encode() in (result())


@pytest.mark.parametrize(("error", "kind"), [(ValueError("x"), "ValueError"), (SystemExit(3), "SystemExit")])
def test_what_the_code_raises_fails_the_run(error: BaseException, kind: str) -> None:
    async def code() -> None:
        await program_read("n")
        raise error

    told = Code(code)
    told.starts()
    assert failure(told.completed("program_read#1", b"1")).type == kind


def test_an_exit_in_a_task_of_the_code_ends_no_process() -> None:
    async def leave() -> None:
        raise SystemExit(1)

    async def code() -> None:
        await asyncio.create_task(leave())

    assert failure(Code(code).starts()).type == "SystemExit"


def test_a_result_that_cannot_be_encoded_fails_the_run() -> None:
    async def code() -> object:
        return object()

    assert "the result of" in failure(Code(code).starts()).message


def test_code_that_cannot_be_replayed_is_stuck_not_failed() -> None:
    async def code() -> None:
        await asyncio.get_running_loop().run_in_executor(None, print)

    with pytest.raises(ProgramStuck, match="run_in_executor") as stuck:
        Code(code).starts()
    assert stuck.value.reason == "not_deterministic"


def test_code_that_cannot_be_replayed_is_stuck_in_a_group_too() -> None:
    async def offend() -> None:
        await asyncio.get_running_loop().run_in_executor(None, print)

    async def code() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(offend())

    with pytest.raises(ProgramStuck) as stuck:
        Code(code).starts()
    assert stuck.value.reason == "not_deterministic"


def test_an_input_that_does_not_fit_is_stuck_and_named() -> None:
    async def code(number: int) -> None: ...

    with pytest.raises(ProgramStuck, match="argument 'number'") as stuck:
        Code(code).starts(b'"x"')
    assert stuck.value.reason == "unfit_input"


def test_a_result_that_does_not_fit_is_stuck() -> None:
    async def code() -> None:
        await program_read("n")

    told = Code(code)
    told.starts()
    with pytest.raises(ProgramStuck, match="program_read#1") as stuck:
        told.completed("program_read#1", b'"x"')
    assert stuck.value.reason == "unfit_result"


def test_large_arguments_and_results_are_kept_aside() -> None:
    async def code() -> str:
        await program_read("x" * 300_000)
        return "y" * 300_000

    told = Code(code)
    (asked,) = told.starts()
    assert isinstance(asked, ScheduleStep)
    assert asked.input.blob is not None
    assert len(told.program.take_blobs()[asked.input.blob]) == 300_002
    assert told.program.take_blobs() == {}
    (end,) = told.completed("program_read#1", b"1")
    assert isinstance(end, CompleteRun)
    assert set(told.program.take_blobs()) == {end.result.blob}


def test_dropping_a_run_asks_for_nothing() -> None:
    ended: list[str] = []

    async def code() -> None:
        try:
            await program_read("n")
        finally:
            ended.append("finally")
            await program_read("undo")
            ended.append("never")

    told = Code(code)
    asked = list(told.starts())
    told.program.evict()
    told.program.evict()
    assert ended == ["finally"]
    assert names(asked) == ["ScheduleStep"]


# Dropping a run


@pytest.fixture
def counting_only() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def programs_in_memory() -> int:
    return sum(isinstance(one, LiveProgram) for one in gc.get_objects())


async def reads_and_waits(note: str) -> int:
    number = await program_read(note)
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(60))
        await signal("go", int)
    return number


@pytest.mark.parametrize("events", [1, 2, 3, 4])
def test_a_dropped_run_is_freed_by_counting_references(counting_only: None, events: int) -> None:
    code = Code(reads_and_waits)
    story: list[Callable[[], object]] = [
        lambda: code.starts(b'"n"'),
        lambda: code.completed("program_read#1", b"5"),
        lambda: code.told("go", b"1"),
        lambda: code.hears(e.TimerFired(timer_id="timer#1"), after=60),
    ]
    for tell in story[:events]:
        tell()
    code.program.evict()
    before = programs_in_memory()
    del code.program
    assert programs_in_memory() == before - 1


def first_task(run_id: str) -> asyncio.Task[Any]:
    kept: list[asyncio.Task[Any]] = []

    async def code() -> None:
        task = asyncio.current_task()
        assert task is not None
        kept.append(task)

    definition: Workflow[..., Any] = Workflow(code, "code", "1")
    program = LiveProgram(lambda _name, _version: definition, lambda payload: payload.data, "ns", run_id, 0)
    program.apply(e.RunStarted(workflow="code", version="1", input=Payload(data=b"null")), NOON)
    return kept[0]


def test_the_tasks_of_many_runs_can_be_kept_in_one_dictionary() -> None:
    assert len({hash(first_task(f"run-{number}")) for number in range(500)}) == 500


def test_a_task_has_the_same_hash_in_every_process() -> None:
    assert hash(first_task("run-1")) == hash(first_task("run-1")) == 1 + (crc32(b"run-1/0") >> 4 << 32)
