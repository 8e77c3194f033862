"""Real Kafka, PostgreSQL and Redis for tests.

Laws of this file:
- One set serves a whole pytest session, all xdist workers included. It is started by the first test that asks for it
  and goes with the session, even when that is killed.
- Who stops, kills, pauses or wipes a server takes `own_servers`, so that tests beside it are not disturbed.
- Tests share servers and never names: topics and schemas begin with `namespace`.

HOLDFAST_TEST_SERVERS=DIR uses the servers of `deploy/local/up --dir DIR` and leaves them running.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = "HOLDFAST_TEST_SERVERS"
TIME_LIMIT = 180

Name = Literal["kafka", "postgres", "redis"]


class Servers:
    """The three servers of one folder, and what may happen to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def kafka(self) -> str:
        """host:port of the broker."""
        return f"127.0.0.1:{self._port('kafka')}"

    @property
    def postgres(self) -> str:
        """URL of a database whose superuser we are."""
        return f"postgresql://holdfast@127.0.0.1:{self._port('postgres')}/holdfast"

    @property
    def redis(self) -> str:
        """URL of database 0."""
        return f"redis://127.0.0.1:{self._port('redis')}/0"

    @property
    def settings(self) -> dict[str, str]:
        """The environment of a process that is to use them."""
        return {
            "HOLDFAST_STORE": self.postgres,
            "HOLDFAST_LOG": f"kafka://{self.kafka}",
            "HOLDFAST_KEYS": self.redis,
        }

    def start(self, *names: Name) -> None:
        """Start what is down, on the port it had; returns when it answers."""
        self._do("up", *names)

    def stop(self, *names: Name) -> None:
        """An orderly shutdown."""
        self._do("down", *names)

    def kill(self, *names: Name) -> None:
        """SIGKILL to the server and its children."""
        self._do("down", "--kill", *names)

    def wipe(self, *names: Name) -> None:
        """SIGKILL, then delete its data; `start` makes it anew, empty, on the port it had."""
        self._do("down", "--kill", "--wipe", *names)

    def pause(self, *names: Name) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._do("pause", *names)

    def resume(self, *names: Name) -> None:
        """SIGCONT."""
        self._do("resume", *names)

    def _port(self, name: Name) -> int:
        record = json.loads((self.folder / "servers.json").read_text(encoding="utf-8"))
        return int(record[name]["ports"]["port"])

    def _do(self, command: str, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "deploy.local.servers", command, "--dir", str(self.folder), *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.fail(done.stdout.strip(), pytrace=False)


def pytest_configure(config: pytest.Config) -> None:
    """Name the folder of the session before xdist's workers inherit the environment."""
    if SHARED not in os.environ:
        folder = _folder()
        os.environ[SHARED] = str(folder)
        config.add_cleanup(lambda: _forget(folder))


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what needs servers, and give it the time to wait for them on a busy machine."""
    if {"servers", "own_servers"}.isdisjoint(getattr(item, "fixturenames", ())):
        return
    item.add_marker("servers")
    if item.get_closest_marker("timeout") is None:
        item.add_marker(pytest.mark.timeout(TIME_LIMIT))


@pytest.fixture(scope="session")
def servers() -> Servers:
    """The servers of the session: to use, not to stop."""
    shared = Servers(Path(os.environ[SHARED]).resolve())
    shared._do("up", *_until_the_session_ends())  # noqa: SLF001 (the module's own class)
    return shared


@pytest.fixture(scope="module")
def own_servers() -> Iterator[Servers]:
    """The servers of one test module, to do anything to. A test that leaves one down starts it again."""
    folder = _folder()
    own = Servers(folder)
    try:
        own._do("up", *_until_the_session_ends())  # noqa: SLF001 (the module's own class)
        yield own
    finally:
        _forget(folder)


@pytest.fixture
def namespace() -> str:
    """A name that nothing else has, good for a topic's prefix and for a schema."""
    return f"t{uuid.uuid4().hex[:12]}"


def _until_the_session_ends() -> list[str]:
    """The guard's orders: none where the servers were there before us."""
    owner = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    ours = (Path(os.environ[SHARED]) / ".session").exists()
    return ["--while", str(owner)] if ours else []


def _folder() -> Path:
    """A folder that the `postgres` user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-tests-"))
    folder.chmod(0o755)
    (folder / ".session").touch()
    return folder


def _forget(folder: Path) -> None:
    if (folder / "servers.json").exists():
        Servers(folder)._do("down", "--kill", "--wipe")  # noqa: SLF001 (the module's own class)
    shutil.rmtree(folder, ignore_errors=True)
