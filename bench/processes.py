"""Processes: starting them on free ports, ending them by pid, and what they cost in CPU time.

Everything is read from /proc (Linux). CPU time of a process is its own, its reaped children's, and that of all its
living descendants, so PostgreSQL's backends are counted with the postmaster.
"""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_NAME_ENDS = ") "
_PPID, _UTIME, _CSTIME = 1, 11, 15  # positions after the name's closing bracket, see proc(5)


def free_port() -> int:
    """Give a port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def spawn(
    command: Sequence[str | Path], *, log: Path, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> asyncio.subprocess.Process:
    """Start a process whose output goes to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *map(str, command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
            cwd=cwd,
        )


async def end(process: asyncio.subprocess.Process | None, *, patience: float = 10) -> None:
    """End a process that we started: asked first, then killed."""
    if process is None or process.returncode is not None:
        return
    family = descendants(process.pid)
    process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), patience)
    except TimeoutError:
        process.kill()
        await process.wait()
    for child in family:
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            continue


async def listening(port: int, process: asyncio.subprocess.Process, *, log: Path, patience: float = 60) -> None:
    """Wait until `port` takes connections; say what the process said if it ends before."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if process.returncode is not None:
            break
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return
    raise RuntimeError(f"nothing listens on port {port}; the end of {log}:\n{tail(log)}")


def tail(log: Path, size: int = 2000) -> str:
    """Give the last of what a process wrote."""
    return log.read_text(errors="replace")[-size:] if log.exists() else "(no output)"


def _stats() -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except OSError:  # it ended while we looked
                continue
            found[int(entry.name)] = text[text.rindex(_NAME_ENDS) + len(_NAME_ENDS) :].split()
    return found


def _family(pid: int, stats: Mapping[int, Sequence[str]]) -> list[int]:
    children: dict[int, list[int]] = {}
    for child, fields in stats.items():
        children.setdefault(int(fields[_PPID]), []).append(child)
    family, open_pids = [], [pid]
    while open_pids:
        member = open_pids.pop()
        family.append(member)
        open_pids.extend(children.get(member, ()))
    return family


def descendants(pid: int) -> list[int]:
    """Give the living descendants of a process, itself not."""
    return _family(pid, _stats())[1:]


def cpu_seconds(named: Mapping[str, int]) -> dict[str, float]:
    """CPU time so far of each named process with all its family."""
    stats = _stats()
    return {
        name: sum(sum(map(int, stats[member][_UTIME:_CSTIME])) for member in _family(pid, stats) if member in stats)
        / _TICKS
        for name, pid in named.items()
    }


def own_cpu_seconds() -> float:
    """CPU time of this process alone, its children left out."""
    times = os.times()
    return times.user + times.system


def fsync_latency(folder: Path, *, times: int = 200) -> list[float]:
    """Milliseconds of `times` small appends, each made durable, sorted."""
    path = folder / "fsync.probe"
    taken = []
    with path.open("wb", buffering=0) as file:
        for _ in range(times):
            begun = time.perf_counter()
            file.write(b"\0" * 4096)
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - begun) * 1000)
    path.unlink()
    return sorted(taken)
