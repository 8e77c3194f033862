"""A person at the command line: what waits because attempts ran out is named, and goes on with `holdfast resume`."""

from pathlib import Path

import pytest

from tests.integration.commandline import done
from tests.integration.supervised import supervised

pytestmark = pytest.mark.timeout(120)

APP = """
from pathlib import Path
from holdfast import Fatal, Retry, compensations, step, workflow

OPEN = Path(__file__).parent / "open"
ONCE = Retry(attempts=1)

def knock(what):
    if not OPEN.exists():
        raise ConnectionError(f"{what}: closed")
    return what

@step(retry=Retry(attempts=1, on_exhausted="park"))
async def transfer(what: str) -> str:
    return knock(what)

@step(retry=ONCE)
async def refund(what: str) -> str:
    return knock(what)

@step
async def ship(what: str) -> None:
    raise Fatal("out of stock")

@workflow
async def settle(what: str) -> str:
    return await transfer(what)

@workflow
async def order(what: str) -> None:
    async with compensations() as undo:
        undo.add(transfer, what)
        undo.add(refund, what)
        await ship(what)
"""


def test_what_waits_because_attempts_ran_out_is_named_and_goes_on_with_a_resume(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with supervised(tmp_path, "dev", "app.py") as service:
        done(tmp_path, "start", "settle", "--id", "one", "--input", '"rent"')
        done(tmp_path, "start", "order", "--id", "two", "--input", '"lamp"')

        one, two = service.until_status("one", "PARKED"), service.until_status("two", "PARKED")
        assert [step["state"] for step in one["steps"]] == ["PARKED"]
        assert str(one["parked"]).startswith("attempts_exhausted: transfer#1: attempt 1 was the last; it failed with")
        assert "compensation_failed: compensations#1: refund failed: " in str(two["parked"])
        assert str(two["parked"]).endswith("still to do after it: transfer")
        assert "holdfast resume two" in done(tmp_path, "show", "two")
        listed, doctor = done(tmp_path, "list", "--status", "PARKED"), done(tmp_path, "doctor")
        for run, word in (("one", "attempts_exhausted"), ("two", "compensation_failed")):
            assert word in listed
            assert f"run {run} is parked ({word}): holdfast show {run}, then holdfast resume {run}" in doctor

        (tmp_path / "open").touch()
        done(tmp_path, "resume", "one")
        done(tmp_path, "resume", "two")
        assert service.until_status("one", "COMPLETED")["result"] == "rent"
        assert "out of stock" in str(service.until_status("two", "FAILED")["error"])
        assert "no run waits for a person because attempts ran out" in done(tmp_path, "doctor")
