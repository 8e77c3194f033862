"""The command line as a person uses it: real processes in a folder."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HOLDFAST = (sys.executable, "-m", "holdfast.cli")
PATIENCE = 20.0


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    return {**kept, "PYTHONUNBUFFERED": "1", **more}


def holdfast(
    folder: Path, *arguments: str, stdin: str | None = None, program: Sequence[str] = HOLDFAST, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a command; `program` is that of another environment, `more` of its settings."""
    return subprocess.run(
        [*program, *arguments],
        cwd=folder,
        env=environment(**more),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def done(folder: Path, *arguments: str, stdin: str | None = None, **more: str) -> str:
    """Run a command that has to succeed; what it printed."""
    result = holdfast(folder, *arguments, stdin=stdin, **more)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def complaint(result: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line of a command that failed as it should."""
    assert result.returncode == code, (result.stdout, result.stderr)
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("holdfast: ")
    return result.stderr


@contextmanager
def started(
    folder: Path, *arguments: str, program: Sequence[str] = HOLDFAST, **more: str
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*program, *arguments],
        cwd=folder,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    """Wait for the next line that a process prints; what follows is left to be read."""
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
        assert ready, "it said nothing"
        letter = os.read(process.stdout.fileno(), 1)
        assert letter, f"it ended: {process.stderr.read() if process.stderr else ''}"
        line += letter
    return line.decode()


def until_status(folder: Path, run: str, status: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while True:
        view: dict[str, Any] = json.loads(done(folder, "show", run, "--json"))
        if view["status"] == status:
            return view
        assert time.monotonic() < deadline, view
