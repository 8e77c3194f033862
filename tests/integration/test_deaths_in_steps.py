"""A step that ends its process is executed apart and parked, and all others go on."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.commandline import done
from tests.integration.supervised import Supervisor, supervised

pytestmark = pytest.mark.timeout(240)  # many processes start, one after the other

APP = """
import asyncio, ctypes, os, signal
from pathlib import Path
from holdfast import Retry, step, workflow

HERE = Path(__file__).parent


@step
async def add(one: int, other: int) -> int:
    return one + other


@step
async def die_async(how: str) -> str:
    return die(how)


@step
def die_in_a_thread(how: str) -> str:
    return die(how)


def die(how: str) -> str:
    if (HERE / "mended").exists():
        return "mended"
    match how:
        case "exit":
            os._exit(7)
        case "segfault":
            ctypes.string_at(0)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "abort":
            os.abort()
    return "alive"


@step
async def patient(name: str) -> str:
    (HERE / f"begun-{os.getpid()}").touch()
    while not (HERE / "go").exists():
        await asyncio.sleep(0.02)
    return f"{name} in {'its own process' if os.getsid(0) == os.getpid() else 'the worker'}"


@step(retry=Retry(attempts=1))
async def refuse(name: str) -> str:
    await patient(name)
    raise ValueError("no")


@workflow
async def total(numbers: list[int]) -> int:
    found = 0
    for number in numbers:
        found = await add(found, number)
    return found


@workflow
async def dies(how: str) -> str:
    return await die_async(how)


@workflow
async def dies_in_a_thread(how: str) -> str:
    return await die_in_a_thread(how)


@workflow
async def waits(name: str) -> str:
    return await patient(name)


@workflow
async def refused(name: str) -> str:
    return await refuse(name)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def count(folder: Path, rows: str) -> int:
    with closing(sqlite3.connect(folder / ".holdfast" / "holdfast.db")) as file:
        (number,) = file.execute(f"SELECT count(*) FROM {rows}").fetchone()
    return int(number)


def killed_in_mid_attempt(folder: Path, service: Supervisor, times: int) -> None:
    for number in range(1, times + 1):
        service.until((folder / f"begun-{service.process.pid}").exists)
        service.process.kill()
        service.process.wait()
        service.until(lambda: len(service.deaths) == number)  # noqa: B023 - called at once


@pytest.mark.parametrize(
    ("workflow", "how", "ended"),
    [
        ("dies", "exit", "exit code 7"),
        ("dies", "segfault", "signal SIGSEGV"),
        ("dies_in_a_thread", "kill", "signal SIGKILL"),
    ],
)
def test_a_step_that_ends_its_process_is_parked_and_the_process_dies_no_more(
    folder: Path, workflow: str, how: str, ended: str
) -> None:
    done(folder, "start", workflow, "--id", "bad", "--input", json.dumps(how))
    done(folder, "start", "total", "--id", "good", "--input", "[1, 2, 3]")

    with supervised(folder, "dev", "app.py") as service:
        view = service.until_status("bad", "PARKED")
        assert service.until_status("good", "COMPLETED")["result"] == 6
        assert done(folder, "start", "total", "--id", "later", "--input", "[4]", "--wait") == "4\n"
        assert len(service.deaths) == 3

        assert view["steps"][0]["state"] == "PARKED"
        for word in ("worker_died: ", "3 processes died", ended, "holdfast resume bad"):
            assert word in str(view["parked"])
        assert "worker_died" in done(folder, "list", "--status", "PARKED")
        assert "run bad is parked (worker_died): holdfast show bad" in done(folder, "doctor")

        (folder / "mended").touch()
        done(folder, "resume", "bad")
        assert service.until_status("bad", "COMPLETED")["result"] == "mended"
        assert len(service.deaths) == 3


def test_a_step_that_is_parked_may_be_parked_again(folder: Path) -> None:
    done(folder, "start", "dies", "--id", "bad", "--input", '"abort"')
    with supervised(folder, "dev", "app.py") as service:
        service.until_status("bad", "PARKED")
        done(folder, "resume", "bad")

        service.until(lambda: count(folder, "history WHERE type = 'StepParked'") == 2)
        assert len(service.deaths) == 3


def test_an_innocent_step_whose_process_was_killed_again_and_again_succeeds_apart(folder: Path) -> None:
    done(folder, "start", "waits", "--id", "innocent", "--input", '"Ada"')
    done(folder, "start", "refused", "--id", "fails", "--input", '"Bob"')
    with supervised(folder, "dev", "app.py") as service:
        killed_in_mid_attempt(folder, service, 3)
        (folder / "go").touch()

        assert service.until_status("innocent", "COMPLETED")["result"] == "Ada in its own process"
        failed = service.until_status("fails", "FAILED")
        assert failed["error"] == {"type": "ValueError", "message": "no", "step": "refuse#1"}
        assert len(service.deaths) == 3
        service.until(lambda: count(folder, "deaths") == 0)  # it is over, and nobody is suspected any more


def test_two_kills_are_not_enough_to_be_suspected(folder: Path) -> None:
    done(folder, "start", "waits", "--id", "innocent", "--input", '"Ada"')
    with supervised(folder, "dev", "app.py") as service:
        killed_in_mid_attempt(folder, service, 2)
        service.until((folder / f"begun-{service.process.pid}").exists)  # it has reported what it found by then
        assert "patient#1 of run innocent: 2 processes died of it: holdfast show innocent" in done(folder, "doctor")
        (folder / "go").touch()
        assert service.until_status("innocent", "COMPLETED")["result"] == "Ada in the worker"


def test_an_attempt_that_is_cut_off_by_an_orderly_stop_is_not_counted(folder: Path) -> None:
    done(folder, "start", "waits", "--id", "innocent", "--input", '"Ada"')
    for number in range(1, 4):
        with supervised(folder, "dev", "app.py") as service:
            service.until((folder / f"begun-{service.process.pid}").exists)
            service.process.terminate()
            service.until(lambda: service.said.count("finishing what runs") == number)  # noqa: B023 - called at once
            service.process.kill()  # whoever stopped it lost patience
            service.process.wait()
    (folder / "go").touch()
    with supervised(folder, "dev", "app.py") as service:
        assert service.until_status("innocent", "COMPLETED")["result"] == "Ada in the worker"
