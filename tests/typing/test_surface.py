"""A type checker sees the author's types through the decorators: surface.py says which, and mypy agrees."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SURFACE = HERE / "surface.py"


def checked(file: Path) -> str:
    """What mypy finds."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(file)],
        capture_output=True,
        text=True,
        check=False,
        cwd=HERE.parents[1],
    )
    return done.stdout + done.stderr


@pytest.mark.timeout(300)
def test_every_call_has_the_authors_type_and_every_mistake_is_noticed() -> None:
    assert checked(SURFACE) == ""


@pytest.mark.timeout(300)
def test_a_type_that_does_not_hold_would_be_found(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    text = SURFACE.read_text(encoding="utf-8").replace("await charge(order), Receipt", "await charge(order), Order")
    wrong.write_text(text, encoding="utf-8")
    assert "assert-type" in checked(wrong)
