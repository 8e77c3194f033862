"""A turn that lasts too long is ended where it can be, and ends its process where it cannot."""

import asyncio
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from holdfast.core import events as e
from holdfast.core.payload import NOTHING, Payload
from holdfast.core.replay import ProgramStuck
from holdfast.sdk.definitions import Workflow, step
from holdfast.sdk.failures import failure_of
from holdfast.sdk.program import LiveProgram
from holdfast.sdk.turn_limit import SIGNAL, Watchdog

LIMIT = 0.2


@step
async def turn_limit_answer() -> int:
    return 42


@pytest.fixture
def _watched() -> Iterator[None]:
    watchdog = Watchdog(LIMIT)
    watchdog.start()
    yield
    watchdog.stop()


def program_of(function: Callable[..., Awaitable[Any]], turn_steps: int = 1_000_000) -> LiveProgram:
    definition: Workflow[..., Any] = Workflow(function, "code", "1")

    def read(payload: Payload) -> bytes:
        return payload.data

    return LiveProgram(lambda _name, _version: definition, read, "ns", "run-1", 0, turn_steps=turn_steps)


def begin(program: LiveProgram) -> Any:
    return program.apply(e.RunStarted(workflow="code", version="1", input=NOTHING), 1)


async def polls() -> int:
    task = asyncio.create_task(turn_limit_answer())
    while not task.done():  # polls
        await asyncio.sleep(0)  # polls
    return task.result()


async def spins() -> None:
    while True:  # spins
        pass


async def backtracks() -> None:
    re.match(r"(a+)+b", "a" * 40)  # backtracks


async def blocks() -> None:
    threading.Lock().acquire() and threading.Event().wait()  # blocks


async def sorts() -> None:
    class Slow:
        def __lt__(self, other: object) -> bool:
            while True:  # sorts
                pass

    sorted([Slow(), Slow()])


def test_a_loop_of_sleep_0_is_ended_after_so_many_steps_and_its_line_is_named() -> None:
    program = program_of(polls, turn_steps=1_000)
    with pytest.raises(ProgramStuck, match=r"(?s)within 1,000 steps.*test_turn_limit.py:\d+ .*# polls") as stuck:
        begin(program)
    assert stuck.value.reason == "turn_too_long"


@pytest.mark.usefixtures("_watched")
@pytest.mark.parametrize("code", [polls, spins, backtracks, sorts, blocks])
def test_a_turn_over_its_limit_is_interrupted_and_its_line_is_named(code: Callable[..., Awaitable[Any]]) -> None:
    program = program_of(code, turn_steps=10**12)
    named = rf"(?s)(too long|longer).*test_turn_limit.py:\d+ .*# {code.__name__}"
    with pytest.raises(ProgramStuck, match=named) as stuck:
        begin(program)
    assert stuck.value.reason == "turn_too_long"


@pytest.mark.usefixtures("_watched")
def test_code_that_catches_everything_is_interrupted_again_and_stuck_all_the_same() -> None:
    caught: list[BaseException] = []

    async def catches() -> int:
        while len(caught) < 3:
            try:
                while True:
                    pass
            except BaseException as error:  # noqa: BLE001 - the mistake that is shown
                caught.append(error)
        return 7

    with pytest.raises(ProgramStuck, match="took longer than"):
        begin(program_of(catches))
    assert len(caught) == 3


@pytest.mark.usefixtures("_watched")
def test_a_finally_block_that_never_ends_does_not_keep_a_run_from_being_dropped() -> None:
    async def stays() -> None:
        try:
            await turn_limit_answer()
        finally:
            while True:
                pass

    program = program_of(stays)
    begin(program)
    program.evict()


@pytest.mark.usefixtures("_watched")
def test_an_error_whose_text_never_comes_is_told_without_it() -> None:
    class Endless(Exception):
        def __str__(self) -> str:  # noqa: PLE0307 - the mistake that is shown
            while True:
                pass

    assert "takes too long" in failure_of(Endless()).message


@pytest.mark.usefixtures("_watched")
def test_a_signal_outside_a_turn_does_nothing() -> None:
    signal.raise_signal(SIGNAL)


@pytest.mark.usefixtures("_watched")
def test_a_turn_in_another_thread_is_ended_at_its_next_step() -> None:
    ended: list[str] = []

    def run() -> None:
        try:
            begin(program_of(polls, turn_steps=10**12))
        except ProgramStuck as stuck:
            ended.append(stuck.reason)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert ended == ["turn_too_long"]


def test_a_turn_that_cannot_be_interrupted_ends_the_process_and_is_named() -> None:
    said: list[str] = []
    # The signal raises in no frame of the engine's: this stands for code that does not listen to it.
    deaf: dict[str, Any] = {"__name__": "holdfast.deaf"}
    exec("def stays(said):\n    while not said:\n        pass", deaf)  # noqa: S102 - three lines of our own

    async def defies() -> None:
        deaf["stays"](said)

    watchdog = Watchdog(LIMIT, hopeless=1, end=said.append)
    watchdog.start()
    with pytest.raises(ProgramStuck):
        begin(program_of(defies))
    watchdog.stop()
    assert re.search(r"cannot be interrupted: .*test_turn_limit.py:\d+", said[0])


def test_c_code_that_keeps_the_interpreter_to_itself_ends_the_process_and_is_named() -> None:
    code = """
        from holdfast.sdk.turn_limit import Watchdog
        from tests.unit.test_turn_limit import begin, program_of

        async def counts() -> int:
            return sum(range(10**14))

        Watchdog(0.2, hopeless=1).start()
        begin(program_of(counts))
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=50, check=False
    )
    assert ended.returncode == -signal.SIGVTALRM
    assert "in counts" in ended.stderr
