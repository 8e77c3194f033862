"""The short form of the storm; the long one is `make chaos`. Writes build/report/chaos.json too."""

import random
from pathlib import Path

import msgspec
import pytest

from examples.demo.view import write_report
from tests.chaos.storm import Plan, storm, table

pytestmark = [pytest.mark.chaos, pytest.mark.servers, pytest.mark.timeout(300)]
RUNS = 70
FAULTS = 14
SECONDS = 42.0


async def test_a_storm_of_every_kind_of_fault_doubles_loses_and_holds_up_nothing(tmp_path: Path) -> None:
    plan = Plan(runs=RUNS, faults=FAULTS, seed=random.SystemRandom().randrange(1_000_000), seconds=SECONDS)
    report = await storm(tmp_path, plan)
    print(table(report))
    write_report("chaos", msgspec.to_builtins(report))
    assert report.wrong == (), f"seed {plan.seed}"
    assert (report.runs, report.double, report.lost, report.stuck) == (RUNS, 0, 0, 0)
    assert {kind.count for kind in report.kinds.values()} == {1}
    assert len(report.kinds) == report.faults == FAULTS
