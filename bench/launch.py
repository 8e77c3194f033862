"""An application under load: a module of this package, run in a Python process of its own."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import processes

ROOT = Path(__file__).resolve().parent.parent


class PythonApp:
    """`python -m MODULE ARGUMENTS`, ready when it listens on `port`."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        port: int,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = (sys.executable, "-m", module, *arguments)
        self._port = port
        self._log = log
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process id, once started."""
        if self._process is None:
            raise RuntimeError("the application has not been started")
        return self._process.pid

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        self._process = await processes.spawn(self._command, log=self._log, environment=self._environment, cwd=ROOT)
        await processes.listening(self._port, self._process, log=self._log)

    async def stop(self) -> None:
        """End it by its pid."""
        await processes.end(self._process)
