"""Processes that outlive the command that started them.

Laws of this file:
- A process is its pid and the moment of its birth: a pid alone may by now belong to a stranger, who must not be harmed.
- A zombie is dead: where no init reaps, it stays listed for ever.
- To kill or pause a server is to kill or pause its children too. PostgreSQL's leave its process group, so
  they are found by parentage, with the parent stopped first so that it bears no more meanwhile.
"""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """One process, told apart from any later one with the same pid."""

    pid: int
    born: int

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return _birth(self.pid) == self.born


def identify(pid: int) -> Process:
    """The process that has `pid` now."""
    return Process(pid, _birth(pid) or 0)


def stop(process: Process, request: signal.Signals, seconds: float) -> bool:
    """Ask to end and wait; whether it ended in time."""
    _send(process, request)
    resume(process)  # a paused process hears nothing, and waits for its children
    return wait_until(lambda: not process.alive, seconds)


def kill(process: Process) -> None:
    """SIGKILL to the process and all its descendants; returns when they are gone."""
    family = pause(process)
    for member in family:
        _send(member, signal.SIGKILL)
    wait_until(lambda: not any(member.alive for member in family), 30)


def pause(process: Process) -> list[Process]:
    """SIGSTOP to the process, then to all its descendants; who they are."""
    _send(process, signal.SIGSTOP)
    family = [process, *_descendants(process)]
    for member in family:
        _send(member, signal.SIGSTOP)
    return family


def resume(process: Process) -> None:
    """Undo `pause`."""
    for member in (*_descendants(process), process):
        _send(member, signal.SIGCONT)


def inhabitants(folder: Path) -> list[Process]:
    """Who works in this very folder."""
    pids = [int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal()]
    return [process for process in map(identify, pids) if process.alive and _works_in(process.pid, folder)]


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition came true before the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _send(process: Process, number: signal.Signals) -> None:
    if process.alive:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return


def _works_in(pid: int, folder: Path) -> bool:
    try:
        return (PROC / str(pid) / "cwd").readlink() == folder
    except OSError:  # it ended, or is another user's
        return False


def _descendants(process: Process) -> list[Process]:
    children: dict[int, list[int]] = defaultdict(list)
    for entry in PROC.iterdir():
        fields = _stat(int(entry.name)) if entry.name.isdecimal() else []
        if fields:
            children[int(fields[1])].append(int(entry.name))
    found: list[Process] = []
    parents = [process.pid] if process.alive else []
    while parents:
        for child in children[parents.pop()]:
            found.append(identify(child))
            parents.append(child)
    return found


def _birth(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] not in "ZX" else None


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name: state, parent, …, the 20th being the birth in ticks since boot."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()
