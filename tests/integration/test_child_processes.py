"""Child processes execute one request each, and are gone, however that ends."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.adapters.child import ChildProcesses
from holdfast.app.executor.invocation import NotBegun
from holdfast.app.executor.quarantine import ChildDied, Quarantine, Reported
from holdfast.core.commands import ExecuteStep
from holdfast.core.payload import Payload
from holdfast.sdk.verdicts import NotSent, Refused, Unclear

PATIENCE = 30.0
APP = """
import asyncio, ctypes, os, signal, sys, time
from pathlib import Path
from holdfast import GIVEN, NotSent, Refused, effect, hours, step
from holdfast.sdk.verdicts import Unclear

HERE = Path(__file__).parent


@step
async def do(how: str) -> str:
    match how:
        case "return":
            print("said by the author")
            return "done in " + os.getcwd()
        case "raise":
            raise LookupError("nothing there")
        case "exit":
            sys.exit(3)
        case "_exit":
            os._exit(3)
        case "segfault":
            ctypes.string_at(0)
        case "closed":
            os.closerange(3, 256)
            return "lost"
        case "hang":
            (HERE / "pid").write_text(str(os.getpid()))
            while True:
                time.sleep(1)
        case "wait":
            (HERE / "pid").write_text(str(os.getpid()))
            await asyncio.sleep(600)
        case "signalled":
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            return "did not hear"
    raise AssertionError(how)


@step
def block(how: str) -> str:
    time.sleep(600)
    return how


@effect(guard="lookup", lifetime=30.0)
async def ship(how: str, *, key: str = GIVEN) -> str:
    match how:
        case "refused":
            raise Refused("no such address", stored=True)
        case "not sent":
            raise NotSent("no connection", not_before=7.0)
        case "unclear":
            raise Unclear("lost", repeats=True, not_before=3.0)
    return f"{how} {key}"


@ship.lookup
async def find(how: str, *, key: str = GIVEN) -> str | None:
    return None if how == "nothing" else f"found {key}"
"""


def children(folder: Path, app: str = "app.py") -> Quarantine:
    return Quarantine(ChildProcesses((sys.executable, "-m", "holdfast.cli.child", app), folder))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def task(name: str, how: str, *, timeout: float = 20.0, guard: str | None = None) -> ExecuteStep:
    return ExecuteStep(
        run_id="r", incarnation=0, step_id=f"{name}#1", attempt=2, name=name, kind="step", queue="default",
        input=Payload(data=msgspec.json.encode(how)), timeout=timeout, guard=guard, key="k-1" if guard else None,
    )  # fmt: skip


async def called(quarantine: Quarantine, one: ExecuteStep, *, asks: bool = False) -> Any:
    data = await quarantine.call(one, one.input.data, asks=asks)
    return None if data is None else msgspec.json.decode(data)


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_child_gives_the_result_and_the_authors_output_stays_the_authors(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert await called(children(folder), task("do", "return")) == f"done in {folder}"
    assert capfd.readouterr().out == "said by the author\n"


async def test_what_the_function_raises_is_told_with_type_place_and_step(folder: Path) -> None:
    with pytest.raises(Reported) as raised:
        await called(children(folder), task("do", "raise"))
    failure = raised.value.failure
    assert (failure.type, failure.message, failure.step, failure.retryable) == (
        "LookupError", "nothing there", "do#1", True,
    )  # fmt: skip
    assert "app.py" in failure.trace


async def test_an_exit_of_the_authors_is_a_failure_and_no_death(folder: Path) -> None:
    with pytest.raises(Reported, match="SystemExit"):
        await called(children(folder), task("do", "exit"))


@pytest.mark.parametrize(
    ("how", "told"), [("_exit", "exit code 3"), ("segfault", "signal SIGSEGV"), ("closed", "signal|exit code")]
)
async def test_a_child_that_dies_is_told_how(folder: Path, how: str, told: str) -> None:
    with pytest.raises(ChildDied, match=f"ended by ({told})"):
        await called(children(folder), task("do", how))


@pytest.mark.parametrize(("name", "how"), [("do", "wait"), ("block", "x")])
async def test_a_child_tells_of_its_timeout(folder: Path, name: str, how: str) -> None:
    with pytest.raises(Reported, match=r"TimeoutError.* longer than 0\.2 s"):
        await called(children(folder), task(name, how, timeout=0.2))


async def test_a_child_that_does_not_come_back_is_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.adapters.child.GRACE", 0.5)
    with pytest.raises(TimeoutError, match="its child process was killed"):
        await called(children(folder), task("do", "hang", timeout=0.2))
    assert not lives(int((folder / "pid").read_text()))


async def test_a_child_goes_with_a_call_that_is_given_up(folder: Path) -> None:
    calling = asyncio.create_task(called(children(folder), task("do", "wait")))
    await until(lambda: (folder / "pid").exists() and bool((folder / "pid").read_text()))
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert not lives(int((folder / "pid").read_text()))


async def test_a_child_does_not_outlive_its_parent(folder: Path) -> None:
    program = f"""
import asyncio
from pathlib import Path
from tests.integration.test_child_processes import called, children, task
asyncio.run(called(children(Path({str(folder)!r})), task("do", "hang", timeout=600)))
"""
    root = Path(__file__).resolve().parents[2]
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, cwd=root)
    await until(lambda: (folder / "pid").exists() and bool((folder / "pid").read_text()))
    parent.kill()
    await parent.wait()
    await until(lambda: not lives(int((folder / "pid").read_text())))


async def test_an_order_to_stop_that_everybody_gets_is_the_parents_to_hear(folder: Path) -> None:
    assert await called(children(folder), task("do", "signalled")) == "did not hear"


async def test_an_application_that_cannot_be_imported_has_not_begun(folder: Path) -> None:
    (folder / "broken.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(NotBegun, match="did not begin: exit code 1"):
        await called(children(folder, "broken.py"), task("do", "return"))


async def test_a_step_that_the_application_does_not_have_is_a_failure(folder: Path) -> None:
    with pytest.raises(Reported, match="UnknownStep: no step 'other' here"):
        await called(children(folder), task("other", "return"))


async def test_an_effect_gets_its_key_and_its_verdicts_come_through(folder: Path) -> None:
    quarantine = children(folder)

    async def ship(how: str, *, asks: bool = False) -> Any:
        return await called(quarantine, task("ship", how, guard="lookup"), asks=asks)

    assert await ship("sent") == "sent k-1"
    with pytest.raises(Refused, match="no such address") as refused:
        await ship("refused")
    assert refused.value.stored
    with pytest.raises(NotSent, match="no connection") as not_sent:
        await ship("not sent")
    assert not_sent.value.not_before == 7.0
    with pytest.raises(Unclear, match="lost") as unclear:
        await ship("unclear")
    assert (unclear.value.repeats, unclear.value.not_before) == (True, 3.0)
    assert await ship("something", asks=True) == "found k-1"
    assert await ship("nothing", asks=True) is None


async def test_children_run_one_at_a_time(folder: Path) -> None:
    quarantine = children(folder)
    first = asyncio.create_task(called(quarantine, task("do", "wait")))
    await until(lambda: (folder / "pid").exists() and bool((folder / "pid").read_text()))
    second = asyncio.create_task(called(quarantine, task("do", "return")))
    os.kill(int((folder / "pid").read_text()), signal.SIGKILL)
    with pytest.raises(ChildDied, match="signal SIGKILL"):
        await first
    assert str(await second).startswith("done in ")


async def test_without_an_application_nothing_suspected_is_tried(folder: Path) -> None:
    with pytest.raises(ChildDied, match="it was not tried again"):
        await called(Quarantine(None), task("do", "return"))
