"""What workflow code says is said once, with the run's name, however often the run is brought back."""

import io
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from holdfast.core import events as e
from holdfast.core.commands import Command, SignalRun, StartRun
from holdfast.core.payload import Payload
from holdfast.sdk.definitions import Workflow, signal, workflow
from holdfast.sdk.program import LiveProgram
from holdfast.sdk.watched import install
from tests.replay.worlds import RUN_ID, World, no_blob

ORDINARY = logging.getLogger("shop.orders")


@pytest.fixture(autouse=True)
def guarded(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    install()
    caplog.set_level(logging.INFO)
    yield
    workflow.log.during_replay = False


async def talking() -> str:
    kept = io.StringIO()
    try:
        for number in range(3):
            workflow.log.info("told %d", number)
            ORDINARY.info("logged %d", number)
            print("printed", number)
            print("warned", number, file=sys.stderr)
            print(number, file=kept, end=",")
            await signal("go", int)
    finally:
        ORDINARY.info("finally")
    return kept.getvalue()


START = StartRun(workflow="talking", version="1", input=Payload())


def go(number: int) -> Command:
    return SignalRun(name="go", message_id=f"m{number}", input=Payload(data=b"1"))


def through(*commands: Command, code: Callable[[], Awaitable[Any]] = talking) -> World:
    """A run that is dropped and brought back before each event."""
    world = World(rebuilds=True, code=Workflow(code, "talking", "1"))
    for command in commands:
        world.tell(command)
    return world


def test_each_line_is_said_once_however_often_the_run_is_brought_back(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    world = through(START, go(0), go(1), go(2))
    expected = [line for number in range(3) for line in (f"[{RUN_ID}] told {number}", f"logged {number}")]
    assert [record.getMessage() for record in caplog.records] == [*expected, "finally"]
    said = capsys.readouterr()
    assert said.out.splitlines() == [f"printed {number}" for number in range(3)]
    assert said.err.splitlines() == [f"warned {number}" for number in range(3)]
    assert world.history[-1].event == e.RunCompleted(result=Payload(data=b'"0,1,2,"'))  # print to a file is no talk


def test_dropping_a_run_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    world = through(START)
    caplog.clear()
    world.close()
    assert caplog.records == []


def test_a_replay_may_be_heard(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    workflow.log.during_replay = True
    through(START, go(0)).close()
    assert [record.getMessage() for record in caplog.records].count("logged 0") == 2
    assert capsys.readouterr().out.splitlines().count("printed 0") == 2


def test_a_line_tells_its_run_and_where_it_was_written(caplog: pytest.LogCaptureFixture) -> None:
    async def code() -> None:
        workflow.log.warning("50 %% of %s", "it", extra={"order": 7})
        workflow.log.warning("100 %")

    definition: Workflow[..., Any] = Workflow(code, "shouting", "1")
    program = LiveProgram(lambda *_: definition, no_blob, "ns", "a%d", 2)
    program.apply(e.RunStarted(workflow="shouting", version="1", input=Payload()), 1)
    program.evict()
    with_arguments, without = caplog.records
    assert with_arguments.getMessage() == "[a%d] 50 % of it"
    assert without.getMessage() == "[a%d] 100 %"
    assert with_arguments.name == __name__
    assert (with_arguments.pathname, with_arguments.funcName) == (__file__, "code")
    told = {"run_id": "a%d", "incarnation": 2, "workflow": "shouting", "order": 7}
    assert told.items() <= vars(with_arguments).items()


def test_outside_of_workflows_it_is_a_log_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    workflow.log.info("a test of %s", "mine")
    assert [(record.name, record.getMessage()) for record in caplog.records] == [("workflow", "a test of mine")]
    assert caplog.records[0].pathname == __file__
