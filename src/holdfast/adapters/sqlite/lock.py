"""One engine a file: a lock that the operating system gives back when its process ends, however it ends."""

import fcntl
import os
import time
from pathlib import Path
from typing import Final, Self

from holdfast.adapters.sqlite.folder import make_folder

TRIES: Final = 5
PAUSE: Final = 0.02
"""Seconds: whoever only looks whether the lock is held has it for an instant."""


class AlreadyRunning(Exception):
    """Another engine has this file; `pid` is its process."""

    def __init__(self, pid: int, path: Path) -> None:
        super().__init__(f"process {pid} already runs an engine on {path}: stop it first, or use another file")
        self.pid = pid


class EngineLock:
    """The right to run the engine of `path`; its holder's pid stands in the file beside it."""

    def __init__(self, path: str | Path) -> None:
        self._for = Path(path)
        self._path = self._for.with_name(self._for.name + ".lock")
        self._held: int | None = None

    def acquire(self) -> None:
        """Take the lock, or raise `AlreadyRunning` at once."""
        make_folder(self._path.parent)
        opened = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        for number in range(TRIES):
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if number < TRIES - 1:
                    time.sleep(PAUSE)
                    continue
                pid = int(os.read(opened, 32).strip() or b"0")
                os.close(opened)
                raise AlreadyRunning(pid, self._for) from None
        os.ftruncate(opened, 0)
        os.write(opened, f"{os.getpid()}\n".encode())
        self._held = opened

    def is_held(self) -> bool:
        """Tell whether an engine has the file now."""
        try:
            opened = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(opened)
        return False

    def release(self) -> None:
        """Give the lock back; the file stays, so that nobody locks a file that was just removed."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
