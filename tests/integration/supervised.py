"""A process that is started again whenever it ends, as a supervisor does it."""

import json
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.integration.commandline import HOLDFAST, done, environment, holdfast

DEADLINE = 90.0
STATUS = """
SELECT iif(
    status = 'RUNNING' AND NOT EXISTS (SELECT 1 FROM attempts AS a WHERE a.run = r.place), 'SUSPENDED', status
) FROM runs AS r WHERE run_id = ?
"""


class Supervisor:
    """Keeps one service of the command line running on its file, and counts how often it died."""

    def __init__(self, folder: Path, arguments: tuple[str, ...], settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.deaths: list[int] = []
        self._arguments = arguments
        self._settings = settings
        self._log = (folder / f"{arguments[0]}.log").open("ab")
        self.process = self._started()

    def _started(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [*HOLDFAST, *self._arguments],
            cwd=self.folder,
            env=environment(**self._settings),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )

    def look(self) -> None:
        """Start it again if it has ended."""
        code = self.process.poll()
        if code is not None:
            self.deaths.append(code)
            self.process = self._started()

    def until(self, condition: Callable[[], bool], deadline: float = DEADLINE) -> None:
        """Look after it until something is so."""
        give_up = time.monotonic() + deadline
        while not condition():
            self.look()
            assert time.monotonic() < give_up, self.said
            time.sleep(0.05)

    def until_status(self, run: str, status: str) -> dict[str, Any]:
        """Look after it until a run has this status; what is shown of it."""
        self.until(lambda: self.status(run) == status)
        view: dict[str, Any] = json.loads(done(self.folder, "show", run, "--json", **self._settings))
        return view

    def status(self, run: str) -> str | None:
        """Look into the file, if it is one: a process for each look would keep the service from its work."""
        if self._settings:
            shown = holdfast(self.folder, "show", run, "--json", "--no-wait", **self._settings)
            return str(json.loads(shown.stdout)["status"]) if shown.returncode == 0 else None
        file = self.folder / ".holdfast" / "holdfast.db"
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=DEADLINE)) as connection:
            found = connection.execute(STATUS, (run,)).fetchone()
        return None if found is None else str(found[0])

    @property
    def said(self) -> str:
        return (self.folder / f"{self._arguments[0]}.log").read_text()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()


@contextmanager
def supervised(folder: Path, *arguments: str, **settings: str) -> Iterator[Supervisor]:
    supervisor = Supervisor(folder, arguments, settings)
    try:
        yield supervisor
    finally:
        supervisor.stop()
