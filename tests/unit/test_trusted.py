"""Libraries that are trusted are given the run's own clock and chance; all others are refused, as the author is."""

import asyncio
import datetime as dt
import json
import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pydantic
import pytest

from holdfast.core import events as e
from holdfast.core.commands import CompleteRun, ScheduleStep
from holdfast.core.payload import Payload
from holdfast.sdk import trusted
from holdfast.sdk.definitions import Workflow, step, workflow
from holdfast.sdk.guard import NotDeterministic
from holdfast.sdk.program import LiveProgram
from holdfast.sdk.watched import install
from tests.unit.cold import START, in_a_turn

ROOT = Path(__file__).parents[2]
AT = START / 1e6


@pytest.fixture(autouse=True)
def guarded() -> Iterator[None]:
    install()
    before = set(trusted._trusted)  # noqa: SLF001 - what a test trusts, it trusts alone
    yield
    trusted._trusted.intersection_update(before)  # noqa: SLF001 - as above


def library(name: str, text: str) -> Callable[[], Any]:
    """A function of an installed library that was imported long ago."""
    path = f"/usr/lib/python3/site-packages/{name.replace('.', '/')}.py"
    code = compile(f"def asks(): return {text}", path, "exec")
    members = {
        "__name__": name,
        "os": os,
        "random": random,
        "time": time,
        "uuid": uuid,
        "dt": dt,
        "shared": random.random,
    }
    exec(code, members)  # noqa: S102 - a line of the test's own
    return cast("Callable[[], Any]", members["asks"])


CLOCKS = {
    "time.time()": AT,
    "time.time_ns()": START * 1000,
    "time.monotonic()": AT,
    "time.perf_counter()": AT,
    "time.process_time_ns()": START * 1000,
    "time.gmtime().tm_year": 2023,
    "time.strftime('%Y')": "2023",
    "time.ctime()[-4:]": "2023",
    "dt.datetime.now(dt.UTC)": dt.datetime.fromtimestamp(AT, dt.UTC),
    "dt.datetime.utcnow()": dt.datetime.fromtimestamp(AT, dt.UTC).replace(tzinfo=None),
    "dt.datetime.now().timestamp()": AT,
    "dt.date.today().year": 2023,
}


@pytest.mark.parametrize("text", CLOCKS)
def test_a_trusted_librarys_clock_tells_the_time_of_the_event(text: str) -> None:
    assert in_a_turn(library("opentelemetry.trace", text)) == CLOCKS[text]


CHANCE = [
    "os.urandom(8).hex()",
    "uuid.uuid4()",
    "uuid.uuid1()",
    "random.random()",
    "shared()",
    "random.getrandbits(64)",
    "random.uniform(0, 1)",
    "random.gauss(0, 1)",
    "random.sample(range(1000), 5)",
    "random.Random().random()",
    "random.SystemRandom().random()",
    "__import__('secrets').token_hex()",
]


@pytest.mark.parametrize("text", CHANCE)
def test_what_a_trusted_library_draws_is_the_same_again_in_each_process(text: str) -> None:
    asks = library("stamina._core", text)
    assert in_a_turn(asks) == in_a_turn(asks)
    assert asks() != in_a_turn(asks)


@pytest.mark.parametrize("text", ["time.time()", "uuid.uuid4()", "random.random()", "dt.datetime.now()"])
def test_an_installed_library_that_nobody_trusts_is_refused_with_the_word_that_would_trust_it(text: str) -> None:
    asks = library("nobody.knows", text)
    with pytest.raises(NotDeterministic) as refusal:
        in_a_turn(lambda: asks())  # noqa: PLW0108 - the author's own line
    assert "test_trusted.py" in refusal.value.file
    assert 'workflow.trust("nobody")' in str(refusal.value)


@pytest.mark.parametrize("text", ["time.sleep(0)", "open('/etc/hostname')", "os.getpid()", "os.stat('/')"])
def test_trust_is_for_clocks_and_chance_alone(text: str) -> None:
    with pytest.raises(NotDeterministic):
        in_a_turn(library("openai", text))


def test_an_author_trusts_a_package_and_all_below_it_but_no_namesake() -> None:
    workflow.trust("shop.loops", "retrying")
    assert in_a_turn(library("shop.loops.steps", "time.time()")) == AT
    assert in_a_turn(library("retrying", "time.time()")) == AT
    for name in ("shop", "shop.loopsided", "retrying_too"):
        with pytest.raises(NotDeterministic):
            in_a_turn(library(name, "time.time()"))


def test_only_the_name_of_a_package_can_be_trusted() -> None:
    with pytest.raises(ValueError, match=r"trust\('pip install x'\): name a package"):
        workflow.trust("pip install x")


def test_an_author_who_is_called_by_a_trusted_library_is_refused_all_the_same() -> None:
    class Stamped(pydantic.BaseModel):
        at: float = pydantic.Field(default_factory=lambda: time.time())  # noqa: PLW0108 - the author's own line

    with pytest.raises(NotDeterministic, match=r"test_trusted\.py:\d+ .*lambda: time\.time\(\)"):
        in_a_turn(Stamped)


# ------------------------------------------------------------------------------------------------------- in a whole run


class Note(pydantic.BaseModel):
    id: uuid.UUID = pydantic.Field(default_factory=uuid.uuid4)


@step
async def trusted_note(note: Note) -> None:
    raise NotImplementedError(note)


async def notes(draws: int) -> list[Any]:
    """The author's numbers, among what a library draws `draws` times."""
    own = [workflow.random().random()]
    for _ in range(draws):
        await trusted_note(Note())
    return [*own, workflow.random().random(), str(workflow.uuid4())]


def asked(draws: int) -> tuple[list[str], str]:
    """What the run asks for, and what it ends with."""
    definition: Workflow[..., Any] = Workflow(notes, "notes", "1")
    program = LiveProgram(lambda *_: definition, lambda payload: payload.data, "ns", "run-1", 0)
    requests = [*program.apply(e.RunStarted(workflow="notes", version="1", input=Payload(data=b"%d" % draws)), START)]
    for number in range(1, draws + 1):
        requests += program.apply(e.StepCompleted(step_id=f"trusted_note#{number}", attempt=1, result=Payload()), START)
    program.evict()
    assert isinstance(requests[-1], CompleteRun)
    return [one.input.data.decode() for one in requests if isinstance(one, ScheduleStep)], requests[
        -1
    ].result.data.decode()


def test_what_libraries_draw_differs_in_each_turn_and_is_the_same_in_a_fresh_process() -> None:
    here = asked(3)
    assert len(set(here[0])) == 3
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import json; from tests.unit.test_trusted import *; install(); print(json.dumps(asked(3)))",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert json.loads(done.stdout) == [*here]


def test_what_libraries_draw_takes_nothing_from_the_authors_numbers() -> None:
    assert asked(0)[1] == asked(3)[1]


def test_a_draw_once_in_a_process_changes_no_other_draw_of_its_turn() -> None:
    once = library("openai.client", "uuid.uuid4()")
    each = library("openai.messages", "uuid.uuid4()")

    def cold() -> object:
        once()
        return each(), each()

    def warm() -> object:
        return each(), each()

    # One function of the author's asks in both.
    warm.__code__ = warm.__code__.replace(co_qualname=cold.__code__.co_qualname)
    first, second = in_a_turn(cold), in_a_turn(warm)
    assert first == second
    assert len(set(first)) == 2


def test_a_draw_more_in_one_turn_changes_no_other_turn() -> None:
    """As of a library that draws a number once in a process."""
    asks = library("openai", "random.random()")

    async def code(extra: bool) -> list[float]:
        await asyncio.sleep(1)
        if extra:
            asks()
        await asyncio.sleep(1)
        return [asks()]

    results = []
    for extra in (b"true", b"false"):
        definition: Workflow[..., Any] = Workflow(code, "code", "1")
        program = LiveProgram(lambda *_, it=definition: it, lambda payload: payload.data, "ns", "run-1", 0)
        program.apply(e.RunStarted(workflow="code", version="1", input=Payload(data=extra)), START)
        program.apply(e.TimerFired(timer_id="timer#1"), START)
        results.append(program.apply(e.TimerFired(timer_id="timer#2"), START))
        program.evict()
    assert results[0] == results[1]
