"""Child processes: one for each request, which comes over standard input; the answer comes over a pipe of its own.

Laws of this file:
- The author's output is the author's: the child writes where this process writes, and answers elsewhere.
- The child is a session of its own: Ctrl-C is for the parent, which decides what becomes of the child.
- A first byte says that the application is there and the work begins: what comes before is not the work's fault.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from holdfast.ports.isolation import Died, NotStarted

STARTING = 120.0
"""Seconds for a fresh interpreter and the application's imports."""
GRACE = 5.0
"""Seconds beyond its time in which the child tells of its timeout itself."""
READY = b"\1"
LENGTH = 8


class ChildProcesses:
    """Fulfils `ports.isolation.Isolation`. `command` is a program that reads and answers as this file says.

    It gets two more arguments: the id of this process, and the number of the file that it answers to.
    """

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._command = command
        self._folder = folder

    async def run(self, request: bytes, seconds: float) -> bytes:
        async with self._started() as (process, answers):
            await _hand_over(process, request)
            try:
                async with asyncio.timeout(STARTING):
                    ready = await answers.read(1)
                    if ready != READY:
                        raise NotStarted(_ended(await process.wait()))
            except TimeoutError:
                raise NotStarted(f"the application was not imported within {STARTING:.0f} s") from None
            async with asyncio.timeout(seconds + GRACE):
                try:
                    length = int.from_bytes(await answers.readexactly(LENGTH), "big")
                    return await answers.readexactly(length)
                except asyncio.IncompleteReadError:
                    raise Died(_ended(await process.wait())) from None

    @asynccontextmanager
    async def _started(self) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.StreamReader]]:
        ours, theirs = os.pipe()
        with os.fdopen(ours, "rb", 0) as source:
            try:
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    str(os.getpid()),
                    str(theirs),
                    cwd=self._folder,
                    stdin=asyncio.subprocess.PIPE,
                    pass_fds=(theirs,),
                    start_new_session=True,
                )
            finally:
                os.close(theirs)
            try:
                answers = asyncio.StreamReader()
                reading, _ = await asyncio.get_running_loop().connect_read_pipe(
                    lambda: asyncio.StreamReaderProtocol(answers), source
                )
                try:
                    yield process, answers
                finally:
                    reading.close()
            finally:
                await _end(process)


async def _hand_over(process: asyncio.subprocess.Process, request: bytes) -> None:
    assert process.stdin is not None  # noqa: S101 - it was asked for
    with suppress(ConnectionError):  # it has ended already: its answer says so
        process.stdin.write(request)
        await process.stdin.drain()
    process.stdin.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _ended(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"
