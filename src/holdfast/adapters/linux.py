"""Processes as Linux tells of them.

Laws of this file:
- A process is the same only if its id, its start (clock ticks since the boot) and its process namespace are: ids are
  given again. Source: proc(5), `/proc/[pid]/stat` field 22, `/proc/sys/kernel/random/boot_id`, `/proc/[pid]/ns/pid`.
- Where `/proc` says nothing, nothing is said.
"""

import os
import signal
from contextlib import suppress
from pathlib import Path

from holdfast.ports.ledger import ProcessRow

_PROC = Path("/proc")
_PR_SET_PDEATHSIG = 1
_START = 19
"""Field 22 of `stat`, counted behind the name in parentheses, which may hold anything."""


class LinuxHost:
    """Fulfils `ports.host.Host`."""

    def __init__(self) -> None:
        self._host = _host()

    def me(self, process: str) -> ProcessRow:
        pid = os.getpid()
        return ProcessRow(process=process, host=self._host, pid=pid, started=_started(pid))

    def gone(self, row: ProcessRow) -> str:
        if row.gone:
            return row.gone
        if not self._host or row.host != self._host or not row.started:
            return ""
        started = _started(row.pid)
        if started == row.started:
            return ""
        return f"its machine says that process {row.pid} has ended" if _can_see_processes() else ""


def boot() -> str:
    """Name this boot of this machine; empty where that cannot be told."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _host() -> str:
    """Name this boot of this machine and this process namespace; empty where that cannot be told."""
    try:
        return f"{booted}/{(_PROC / 'self/ns/pid').readlink()}" if (booted := boot()) else ""
    except OSError:
        return ""


def _started(pid: int) -> str:
    try:
        stat = (_PROC / str(pid) / "stat").read_text("utf-8", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    if fields[0] in {"Z", "X"}:  # ended, and not yet waited for
        return ""
    return fields[_START]


def _can_see_processes() -> bool:
    return bool(_started(os.getpid()))


def die_with(parent: int) -> None:
    """Let this process be killed when `parent`, which started it, ends. Source: prctl(2), PR_SET_PDEATHSIG."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before
        os._exit(1)


def be_first_to_go() -> None:
    """Let the kernel choose this process before others when memory runs out. Source: proc(5), `oom_score_adj`."""
    with suppress(OSError):
        (_PROC / "self/oom_score_adj").write_text("1000")
