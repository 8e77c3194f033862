"""Real Kafka, PostgreSQL and Redis in a folder of the demo's own, by deploy/local; they vanish with this process."""

import json
import os
import sys
from pathlib import Path

from examples.demo.processes import run

NAMES = ("kafka", "postgres", "redis")


class Servers:
    """The three servers of one folder, and what may happen to them."""

    def __init__(self, folder: Path, *, proxies: int = 0) -> None:
        self.folder = folder
        self._proxies = proxies
        self._guarded = False

    async def start(self, *names: str) -> None:
        """Start what is down, on the port it had; return when it answers."""
        guard = [] if self._guarded else ["--while", str(os.getpid())]
        self._guarded = True
        await self._do("up", *guard, "--proxies", str(self._proxies), *names)

    async def stop(self, *names: str) -> None:
        """Shut down in order."""
        await self._do("down", *names)

    async def kill(self, *names: str) -> None:
        """SIGKILL to the server and its children."""
        await self._do("down", "--kill", *names)

    async def wipe(self, *names: str) -> None:
        """SIGKILL, then delete the data."""
        await self._do("down", "--kill", "--wipe", *names)

    def port(self, name: str, which: str = "port") -> int:
        """Give the port on 127.0.0.1."""
        known = json.loads((self.folder / "servers.json").read_text(encoding="utf-8"))
        return int(known[name]["ports"][which])

    def settings(self, namespace: str) -> dict[str, str]:
        """Give the environment of a process that is to use them."""
        return {
            "HOLDFAST_NAMESPACE": namespace,
            "HOLDFAST_STORE": f"postgresql://holdfast@127.0.0.1:{self.port('postgres')}/holdfast",
            "HOLDFAST_LOG": f"kafka://127.0.0.1:{self.port('kafka')}",
            "HOLDFAST_KEYS": f"redis://127.0.0.1:{self.port('redis')}/0",
        }

    async def _do(self, command: str, *words: str) -> None:
        await run(sys.executable, "-m", "deploy.local.servers", command, "--dir", str(self.folder), *words)
