"""Twenty thousand worlds in which everything goes wrong, and the bugs that they have to find.

The seeds are the same in every run. A seed that breaks a law is shrunk, and told with the command that plays it again.
"""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.figures import REPORTS

pytestmark = pytest.mark.alone
ROOT = REPORTS.parents[1]
SEEDS = 20_000
FAULTS = 200_000
BUGS = 25
OPEN = {(13235, "stuck")}
"""A finding that is not mended yet: after a log was lost whose group kept its progress, a worker passes over new tasks
whose offsets were finished in the old log. Each is sent again, ever later. The test below tells when it is mended."""


def told(name: str, *arguments: str) -> tuple[dict[str, Any], str]:
    """Run a program of the simulation in a process of its own; gives its report, and what it said."""
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    said = (done.stdout + done.stderr)[-20_000:]
    assert done.returncode in {0, 1}, said
    return json.loads((REPORTS / f"{name}.json").read_text()), said


@pytest.mark.timeout(3000)
def test_no_seed_breaks_a_law() -> None:
    report, said = told("simulation", "tests.simulation", "--seeds", str(SEEDS))
    assert {(one["seed"], one["law"]) for one in report["violations"]} <= OPEN, said
    assert report["seeds"] >= SEEDS
    assert report["faults"] >= FAULTS


@pytest.mark.xfail(
    strict=True, reason="progress of a lost log is believed in the new one: its metadata does not name the log"
)
@pytest.mark.parametrize("seed", sorted(seed for seed, _ in OPEN))
def test_progress_of_a_lost_log_holds_up_no_task_of_the_new_one(seed: int) -> None:
    played = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seed", str(seed)], cwd=ROOT, capture_output=True, check=False
    )
    assert played.returncode == 0


@pytest.mark.timeout(2400)
def test_every_planted_bug_is_caught() -> None:
    report, said = told("planted", "tests.simulation.planted")
    assert report["caught"] == report["planted"], said
    assert report["planted"] >= BUGS


def test_a_seed_is_the_same_world_in_every_process() -> None:
    """Whatever the hash seed is, and whatever lay in the heap before."""
    digests = {
        subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--digest", "--from", "7", "--seeds", "40"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "4242")
    }
    assert len(digests) == 1
