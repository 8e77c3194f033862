"""The one file of the embedded profile: one connection that writes, one that reads, one that notices.

Laws of this file:
- One writer connection; whoever else has the file open waits for its turn in SQLite's own lock.
- A commit is on disk before it is answered (`synchronous=FULL`).
- Who waits for a change is woken by a commit of this process at once, by another process's within `IDLE_LOOK` seconds.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from holdfast.adapters.sqlite.errors import in_words_of_the_port
from holdfast.adapters.sqlite.folder import make_folder
from holdfast.adapters.sqlite.lane import BUSY, Lane, Value, Work
from holdfast.ports.installation import NotInstalled

LOOK = 0.015
IDLE_LOOK = 0.03  # between looks when nothing has happened for a while: a wake-up costs more than the look
LONGEST_WAIT = 2.0

SYNCHRONOUS = "FULL"  # NORMAL loses the last commits when the power fails, OFF the file
CHECKPOINT_PAGES = 2000  # more is slower: a file that grows costs more than one that is written again
_CACHE_KIB = 32 * 1024
_WAL_LIMIT = 64 * 1024 * 1024


_PLAIN: dict[type, Callable[[Any], Any]] = {bytes: bytes, bool: int, type(None): {}.get}
"""What SQLite takes as it is, though the module `sqlite3` looks for an adapter of it first."""


def bind_plainly() -> None:
    """Answer the module's search for adapters, which costs some 3,000 instructions for each value where there is none.

    The adapters give back what they get, and one that the application has registered stays.
    """
    for kind, same in _PLAIN.items():
        if (kind, sqlite3.PrepareProtocol) not in sqlite3.adapters:
            sqlite3.register_adapter(kind, same)


def connect(path: Path, *, make: bool = False) -> sqlite3.Connection:
    """Open the file; only the installation may `make` it, and its folder."""
    bind_plainly()
    if make:
        make_folder(path.parent)
    mode = "rwc" if make else "rw"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY,
        isolation_level=None,  # transactions are begun where the SQL says so
        check_same_thread=False,  # made in one thread, closed perhaps by another; used by one at a time
        cached_statements=512,
    )
    try:
        _set_up(connection, make=make)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection, *, make: bool) -> None:
    connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")  # first: the switch to WAL writes already
    if make:
        _write_ahead(connection)
    for setting in (
        f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
        f"cache_size = -{_CACHE_KIB}",
        f"journal_size_limit = {_WAL_LIMIT}",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {setting}")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to WAL, once in the life of a file; two that switch at once do not wait for each other by themselves."""
    give_up = time.monotonic() + BUSY
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)


class SqliteFile:
    """The connections to one file, shared by the store and the log that live in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened = False
        self._writer = Lane(lambda: connect(path), str(path))
        self._reader = Lane(lambda: connect(path), str(path))
        self._noticing: sqlite3.Connection | None = None
        self._version = 0
        self._mark = 1
        self._waiting: set[asyncio.Future[None]] = set()
        self._lookers = 0
        self._next_look: asyncio.TimerHandle | None = None
        self._looked_at = 0.0
        self._noticed_at = 0.0
        self.listeners: set[Callable[[], None]] = set()

    async def open(self) -> None:
        """Begin; the file exists already."""
        if self.opened:
            return
        if not self.path.exists():
            raise NotInstalled(f"{self.path} does not exist: run holdfast install")
        if self._writer.closed:
            self._writer = Lane(self._writer.connect, self._writer.name)
            self._reader = Lane(self._reader.connect, self._reader.name)
        try:
            self._noticing = connect(self.path)
            self._noticing.execute("PRAGMA busy_timeout = 0")
            (self._version,) = self._noticing.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error as error:
            if self._noticing is not None:
                self._noticing.close()
                self._noticing = None
            raise in_words_of_the_port(str(self.path), error) from error
        self.opened = True

    async def close(self) -> None:
        """End; what is in flight is done first."""
        if not self.opened:
            return
        self.opened = False
        await self._reader.close()
        await self._writer.close()
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        self._wake()
        if self._noticing is not None:
            self._noticing.close()
            self._noticing = None

    async def write(self, work: Work[Value]) -> Value:
        """Do `work` in one transaction of the writer, and wake who waits for a change."""
        return await self.commit(lambda connection: _whole(connection, "BEGIN IMMEDIATE", work))

    async def commit(self, work: Work[Value]) -> Value:
        """Do `work`, which begins and ends its own transaction, and wake who waits for a change."""
        value = await self._writer.call(work, short=True)
        self._mark += 1
        self._wake()
        return value

    async def read(self, work: Work[Value]) -> Value:
        """Do `work` on one state of the file."""
        return await self._reader.call(lambda connection: _whole(connection, "BEGIN", work))

    async def ask(self, work: Work[Value]) -> Value:
        """Do `work`, a single statement that reads little."""
        return await self._reader.call(work, short=True)

    async def changed(self, since: int, wait: float = LONGEST_WAIT) -> int:
        """Wait until somebody has committed after the mark `since`, at most `wait` seconds; return the new mark."""
        self._look()
        if self._mark > since or not self.opened:
            return self._mark
        woken = asyncio.get_running_loop().create_future()
        self._waiting.add(woken)
        try:
            async with asyncio.timeout(wait):
                with self.looking():
                    await woken
        except TimeoutError:
            pass
        finally:
            self._waiting.discard(woken)
        return self._mark

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look at the file from time to time, as long as somebody waits inside."""
        self._lookers += 1
        if self._next_look is None:
            self._look_later()
        try:
            yield
        finally:
            self._lookers -= 1

    def look_if_due(self) -> None:
        """Look now, unless somebody did a moment ago."""
        if asyncio.get_running_loop().time() - self._looked_at >= LOOK:
            self._look()

    def _look(self) -> None:
        """Compare SQLite's counter of the file's commits; it costs a few microseconds and waits for nobody."""
        if self._noticing is None:
            return
        self._looked_at = asyncio.get_running_loop().time()
        try:
            (version,) = self._noticing.execute("PRAGMA data_version").fetchone()
        except sqlite3.OperationalError:
            return  # somebody has the file to himself for a moment: the next look tells
        if version != self._version:
            self._version = version
            self._noticed_at = self._looked_at
            self._mark += 1
            self._wake()
            for listener in self.listeners:
                listener()

    def _look_later(self) -> None:
        loop = asyncio.get_running_loop()
        pause = LOOK if loop.time() - self._noticed_at < 1 else IDLE_LOOK
        self._next_look = loop.call_later(pause, self._look_again)

    def _look_again(self) -> None:
        self._next_look = None
        self._look()
        if self._lookers and self.opened:
            self._look_later()

    def _wake(self) -> None:
        for woken in self._waiting:
            if not woken.done():
                woken.set_result(None)
        self._waiting.clear()


def _whole(connection: sqlite3.Connection, begin: str, work: Work[Value]) -> Value:
    connection.execute(begin)
    value = work(connection)
    connection.execute("COMMIT")
    return value
