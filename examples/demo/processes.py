"""Real processes, started, killed and stopped by pid; each writes to a log of its own.

Laws of this file:
- A process is in a session of its own: Ctrl-C reaches us alone, and we stop what we started, in order.
- Whoever started a process ends it, however the story ends: `Processes` does so when its block is left.
"""

import asyncio
import os
import random
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
LISTENING = re.compile(r"^listening on (http://\S+)$", re.MULTILINE)
HOST = "127.0.0.1"
PORTS = range(20_000, 32_000)  # below those of outgoing connections, so that a port is still free in the next life


class Died(Exception):
    """A process ended by itself, or did not come up."""


class Process:
    """One program under one name, which may live several times."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str], health: int | None
    ) -> None:
        self.name = name
        self.log = log
        self._health = health
        self.lives = 0
        self._command = command
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
        self._running: asyncio.subprocess.Process | None = None
        self._said_before = 0

    @property
    def pid(self) -> int:
        return 0 if self._running is None else self._running.pid

    @property
    def alive(self) -> bool:
        return self._running is not None and self._running.returncode is None

    async def start(self) -> None:
        """Let it live, once more."""
        with self.log.open("ab") as log:
            self._said_before = log.tell()
            self._running = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=ROOT,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.lives += 1

    async def kill(self) -> bool:
        """SIGKILL; whether there was anybody to kill."""
        if self._running is None or self._running.returncode is not None:
            return False
        self._running.kill()
        return await self._running.wait() == -signal.SIGKILL

    async def ended(self) -> int:
        """Wait for the end of this life; negative for the signal that ended it."""
        assert self._running is not None, f"{self.name} was never started"
        return await self._running.wait()

    def pause(self) -> None:
        """SIGSTOP: its connections stay open and it does nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    async def stop(self, patience: float = 5.0) -> None:
        """Ask it to end; kill it when it does not."""
        if self._running is None or self._running.returncode is not None:
            return
        self._running.terminate()
        self.resume()
        try:
            await asyncio.wait_for(self._running.wait(), patience)
        except TimeoutError:
            await self.kill()

    def said(self) -> str:
        """Give what it has written in this life."""
        with self.log.open("rb") as log:
            log.seek(self._said_before)
            return log.read().decode(errors="replace")

    async def until(self, words: re.Pattern[str], patience: float = 60.0) -> re.Match[str]:
        """Wait until it has said `words` in this life."""
        async for _ in self._alive(patience):
            if found := words.search(self.said()):
                return found
        raise Died(self._why())

    async def ready(self, patience: float = 60.0) -> None:
        """Wait until it says by HTTP that it is ready."""
        async for _ in self._alive(patience):
            if await _answers(self._health or 0):
                return
        raise Died(self._why())

    async def _alive(self, patience: float) -> AsyncIterator[None]:
        deadline = time.monotonic() + patience
        while self.alive and time.monotonic() < deadline:
            yield
            await asyncio.sleep(0.02)

    def _why(self) -> str:
        why = "did not come up in time" if self.alive else "ended by itself"
        return f"{self.name} {why}; the end of {self.log}:\n{self.said()[-2000:]}"


class Processes:
    """All that one story has started; they end with the block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._all: list[Process] = []

    def new(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], *, serves: bool = False
    ) -> Process:
        """Describe a process, not started yet; one that `serves` tells whether it is ready."""
        health = free_port() if serves else None
        told = {} if health is None else {"HOLDFAST_HEALTH": f"{HOST}:{health}"}
        process = Process(name, command, self.folder / f"{name}.log", {**environment, **told}, health)
        self._all.append(process)
        return process

    async def provider(self, name: str, *options: str) -> str:
        """Start one of the example's providers; give its URL."""
        process = self.new(name, (sys.executable, "-m", f"examples.providers.{name}", *options), {})
        await process.start()
        return (await process.until(LISTENING))[1]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(process.stop() for process in reversed(self._all)))


async def run(*command: str, environment: dict[str, str] | None = None) -> str:
    """Run a command to its end; give what it said."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise Died(f"{' '.join(command[1:])} failed:\n{said.decode(errors='replace').strip()}")
    return said.decode()


def free_port() -> int:
    """Give a port of 127.0.0.1 that nobody listens on."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as attempt:
            try:
                attempt.bind((HOST, port))
            except OSError:
                continue
            return port
    raise Died(f"no free port from {PORTS.start} to {PORTS.stop}")


async def _answers(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return b" 200 " in await reader.readline()
        finally:
            writer.close()
    except OSError:
        return False
