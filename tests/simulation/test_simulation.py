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


def told(name: str, *arguments: str) -> tuple[dict[str, Any], str]:
    """Run a program of the simulation in a process of its own; gives its report, and what it said."""
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    said = (done.stdout + done.stderr)[-20_000:]
    assert done.returncode in {0, 1}, said
    return json.loads((REPORTS / f"{name}.json").read_text()), said


@pytest.mark.timeout(3000)
def test_no_seed_breaks_a_law() -> None:
    report, said = told("simulation", "tests.simulation", "--seeds", str(SEEDS))
    assert not report["violations"], said
    assert report["seeds"] >= SEEDS
    assert report["faults"] >= FAULTS


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
