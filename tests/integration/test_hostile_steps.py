"""Steps that do what ends or blocks programs, in real processes: each harms its own run, and a process ends in time."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.commandline import PATIENCE, done, holdfast, line_of, started

APP = """
import argparse, asyncio, sys, threading, time
from holdfast import Retry, step, workflow

once = Retry(attempts=1)


async def child(code: int) -> None:
    await asyncio.sleep(0.01)
    raise SystemExit(code)


@step(retry=once)
async def read_args(where: str) -> str:
    argparse.ArgumentParser().parse_args(["--unknown"])
    return "read"


@step(retry=once)
def read_args_in_thread(where: str) -> str:
    argparse.ArgumentParser().parse_args(["--unknown"])
    return "read"


@step(retry=once)
async def gathers_exits(where: str) -> str:
    await asyncio.gather(child(7), child(8))
    return "read"


@step(retry=once)
async def leaves_exits_behind(where: str) -> str:
    asyncio.get_running_loop().call_later(0.01, lambda: exit(3))
    leaves_exits_behind.task = asyncio.create_task(child(9))
    return "left"


@step(retry=once)
async def stops_the_loop(where: str) -> str:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.01)
    return "stopped"


@step(retry=once)
async def cancels_everybody(where: str) -> str:
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            task.cancel()
    return "cancelled"


@step(retry=once)
async def waits_for_everybody(where: str) -> str:
    mine = asyncio.create_task(asyncio.Event().wait())
    mine.cancel()
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)
    return "waited"


@step(retry=once)
async def closes_the_streams(where: str) -> str:
    sys.stdout.close()
    sys.stderr.close()
    return "closed"


@step(retry=once)
async def interrupts(where: str) -> str:
    raise KeyboardInterrupt


@step(retry=once)
async def never_ends(where: str) -> str:
    leaves = threading.Thread(target=threading.Event().wait, name="left-behind")
    leaves.start()

    async def deaf() -> None:
        while True:
            try:
                await asyncio.sleep(0.1)
            except asyncio.CancelledError:
                pass

    never_ends.task = asyncio.create_task(deaf(), name="deaf")
    return "left"


@step(retry=once)
async def blocks(where: str) -> str:
    open(where, "w").close()
    while True:
        time.sleep(0.1)


@step
async def reads() -> int:
    return 42


@workflow
async def does(what: str, where: str) -> str:
    return await globals()[what](where)


@workflow
async def fine() -> int:
    return await reads()
"""


@contextmanager
def dev(folder: Path) -> Iterator[subprocess.Popen[str]]:
    (folder / "app.py").write_text(APP)
    with started(folder, "dev", "app.py") as process:
        line_of(process)
        yield process


def given(what: str, where: str) -> str:
    return json.dumps({"what": what, "where": where})


def does(folder: Path, what: str, where: str = "") -> subprocess.CompletedProcess[str]:
    return holdfast(folder, "start", "does", "--id", what, "--input", given(what, where), "--wait")


def test_steps_that_end_programs_fail_and_the_process_goes_on_and_drains(tmp_path: Path) -> None:
    with dev(tmp_path) as process:
        fail = ("read_args", "read_args_in_thread", "gathers_exits", "interrupts")
        harmless = ("leaves_exits_behind", "stops_the_loop", "cancels_everybody", "waits_for_everybody")
        told = {what: does(tmp_path, what) for what in (*fail, *harmless)}
        assert done(tmp_path, "start", "fine", "--id", "fine", "--wait").splitlines()[-1] == "42"
        process.send_signal(signal.SIGTERM)
        _, complained = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0
    assert {what for what, result in told.items() if result.returncode == 1} == set(fail)
    assert "SystemExit: 2" in told["read_args"].stderr
    assert "SystemExit: 2" in told["read_args_in_thread"].stderr
    assert "SystemExit: 7" in told["gathers_exits"].stderr
    assert "KeyboardInterrupt" in told["interrupts"].stderr
    assert "tried to end this process; it continues" in complained
    assert "app.py" in complained


def test_what_steps_leave_behind_does_not_hold_up_the_end_of_a_process(tmp_path: Path) -> None:
    with dev(tmp_path) as process:
        assert does(tmp_path, "never_ends").returncode == 0
        process.send_signal(signal.SIGTERM)
        _, complained = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0
    assert "ignores its cancellation; not waiting for it: deaf" in complained
    assert "is still running; not waiting for it: left-behind" in complained


def test_a_step_that_closes_the_streams_does_not_keep_a_process_from_draining(tmp_path: Path) -> None:
    with dev(tmp_path) as process:
        assert does(tmp_path, "closes_the_streams").returncode == 0
        assert done(tmp_path, "start", "fine", "--id", "fine", "--wait").splitlines()[-1] == "42"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_process_whose_event_loop_is_blocked(tmp_path: Path, number: signal.Signals) -> None:
    blocked = tmp_path / "blocked"
    with dev(tmp_path) as process:
        done(tmp_path, "start", "does", "--id", "blocks", "--input", given("blocks", str(blocked)))
        until = time.monotonic() + PATIENCE
        while not blocked.exists():
            assert time.monotonic() < until
            time.sleep(0.01)
        process.send_signal(number)
        time.sleep(0.3)  # or the kernel would make one signal of two
        process.send_signal(number)
        _, complained = process.communicate(timeout=PATIENCE)

    assert process.returncode == 128 + number
    assert "Traceback" not in complained


def test_a_drain_that_is_blocked_for_ever_ends_at_its_deadline(tmp_path: Path) -> None:
    (tmp_path / "blocked.py").write_text(
        "import time\n"
        "from holdfast.cli.event_loop import Deadline\n"
        "deadline = Deadline(0.2)\n"
        "deadline.begin(143)\n"
        "while True: time.sleep(1)\n"
    )
    ended = subprocess.run(
        [sys.executable, "blocked.py"], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
    )

    assert ended.returncode == 143
    assert ended.stderr == "holdfast: what runs did not end within 0.2 s; the process ends all the same\n"
