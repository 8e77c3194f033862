"""A workflow whose code ends its process is parked, and all others go on."""

import json
import signal
from pathlib import Path

import pytest

from tests.integration.commandline import done
from tests.integration.supervised import DEADLINE, supervised

pytestmark = pytest.mark.timeout(240)  # many processes start, one after the other

APP = """
import ctypes, os, signal, time
from pathlib import Path
from holdfast import signal as heard, step, workflow

MENDED = Path(__file__).with_name("mended")


@step
async def add(one: int, other: int) -> int:
    return one + other


@workflow
async def total(numbers: list[int]) -> int:
    found = 0
    for number in numbers:
        found = await add(found, number)
    return found


@workflow
async def ends_at_once(how: str) -> str:
    die(how)
    return "mended"


@workflow
async def ends_later(how: str) -> str:
    await add(1, 2)
    await heard("go", str)
    die(how)
    await add(3, 4)
    return "mended"


def die(how: str) -> None:
    if MENDED_BY_NOW:
        return
    match how:
        case "exit":
            os._exit(0)
        case "segfault":
            ctypes.string_at(0)
        case "kill":
            signal.raise_signal(signal.SIGKILL)


MENDED_BY_NOW = MENDED.exists()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@pytest.mark.parametrize("how", ["exit", "segfault", "kill"])
def test_a_run_whose_first_turn_ends_the_process_is_parked_before_its_third_try(folder: Path, how: str) -> None:
    done(folder, "start", "ends_at_once", "--id", "bad", "--input", json.dumps(how))
    done(folder, "start", "total", "--id", "good", "--input", "[1, 2, 3]")

    with supervised(folder, "dev", "app.py") as service:
        view = service.until_status("bad", "PARKED")
        assert service.until_status("good", "COMPLETED")["result"] == 6
        assert len(service.deaths) == 2

    assert str(view["parked"]).startswith("process_died: 2 processes died while the code of workflow 'ends_at_once'")
    assert "holdfast resume bad" in str(view["parked"])
    assert "process_died" in done(folder, "list", "--status", "PARKED")
    assert "run bad is parked (process_died): holdfast show bad" in done(folder, "doctor")


def test_a_run_whose_later_turn_ends_the_process_is_parked_and_goes_on_when_it_is_mended(folder: Path) -> None:
    done(folder, "start", "ends_later", "--id", "bad", "--input", '"exit"')
    with supervised(folder, "dev", "app.py") as service:
        service.until_status("bad", "SUSPENDED")
        done(folder, "signal", "bad", "go", "--input", '"now"')
        service.until_status("bad", "PARKED")
        assert done(folder, "start", "total", "--id", "good", "--input", "[4]", "--wait") == "4\n"
        assert len(service.deaths) == 2

        done(folder, "resume", "bad")  # nothing was mended: it has two chances again
        service.until(lambda: len(service.deaths) == 4)
        service.until_status("bad", "PARKED")
        assert len(service.deaths) == 4

    (folder / "mended").touch()
    with supervised(folder, "dev", "app.py") as service:
        done(folder, "resume", "bad")
        assert service.until_status("bad", "COMPLETED")["result"] == "mended"
        assert service.deaths == []
    types = [event["type"] for event in json.loads(done(folder, "history", "bad", "--json"))]
    assert types[-1] == "RunCompleted"


def test_an_orderly_stop_counts_against_nobody(folder: Path) -> None:
    done(folder, "start", "ends_later", "--id", "waits", "--input", '"exit"')
    for number in range(1, 4):
        with supervised(folder, "dev", "app.py") as service:
            service.until(lambda: service.said.count("holdfast dev: serving") == number)  # noqa: B023 - called at once
            service.until_status("waits", "SUSPENDED")
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(DEADLINE) == 0
    assert list((folder / ".holdfast" / "holdfast.db.flight").iterdir()) == []
    assert "process_died" not in done(folder, "list")
