"""`transaction` effects in an SQLite file.

Laws of this file:
- The file has one writer: an effect's transaction holds its lock from the beginning, and others wait for their turn.
- The author may not begin, commit or roll back: SQLite's authorizer refuses it. What a conflict clause or a full disk
  rolls back is noticed at the next statement.
- A commit is on disk, and its folder too, before it is answered.
- A connection and its thread serve one transaction.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from holdfast.adapters.databases.row import LAW, ended, not_installed, recorded
from holdfast.adapters.databases.statements import statement
from holdfast.adapters.sqlite.errors import in_words_of_the_port
from holdfast.ports.databases import CommitUnclear, TransactionEnded, UnknownDatabase

WAITING = 0.25
"""Seconds for which the thread waits for another process's lock before it looks whether it is still wanted."""
COMMITTING = 10.0
"""Seconds for which a commit waits for readers, where the file is not in WAL mode."""

Value = TypeVar("Value")
Parameters = Sequence[Any] | Mapping[str, Any]


class Rows(list[tuple[Any, ...]]):
    """The rows that a statement gave, and what it did."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        super().__init__(cursor.fetchall())
        self.rowcount = cursor.rowcount
        self.lastrowid = cursor.lastrowid


class SqliteConnection:
    """What an effect writes with: one statement at a time, in the transaction that holds the effect's row."""

    def __init__(self, file: sqlite3.Connection, thread: ThreadPoolExecutor) -> None:
        self._file = file
        self._thread = thread
        self._over = False

    async def execute(self, sql: str, parameters: Parameters = ()) -> Rows:
        """Run one statement in the connection's thread; gives its rows. `SAVEPOINT` works as ever."""
        if self._over:
            raise TransactionEnded(f"the effect's connection was used after its end; {LAW}")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._execute, sql, parameters)
        except asyncio.CancelledError:
            self._file.interrupt()
            raise

    def _execute(self, sql: str, parameters: Parameters) -> Rows:
        if not self._file.in_transaction:
            raise ended()
        try:
            return Rows(self._file.execute(sql, parameters))
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_AUTH:
                raise TransactionEnded(f"{sql.strip()} in an effect: {LAW}") from error
            raise

    def end(self) -> None:
        self._over = True


class SqliteTransaction:
    """Fulfils `ports.databases.Transaction`."""

    def __init__(self, file: sqlite3.Connection, effect_id: str, where: str) -> None:
        self._file = file
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=where)
        self._effect_id = effect_id
        self._where = where
        self.connection = SqliteConnection(file, self._thread)
        self.recorded: bytes | None = None

    async def begin(self, name: str, request_hash: bytes) -> None:
        """Wait for the file's lock, and insert the effect's row, or read it."""
        while not await self._in_thread(self._begin):
            pass
        await self._in_thread(lambda: self._take_row(name, request_hash))

    async def commit(self, result: bytes) -> None:
        await self._in_thread(lambda: self._record(result))
        await self._in_thread(self._commit)

    async def end(self) -> None:
        """Roll back what is not committed, and close."""
        self.connection.end()
        try:
            await self._in_thread(self._close)
        finally:
            self._thread.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[], Value]) -> Value:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _begin(self) -> bool:
        with in_words(self._where):
            try:
                # EXTRA is FULL, and the folder too where the file has a rollback journal.
                self._file.execute("PRAGMA synchronous = EXTRA")
                self._file.execute("PRAGMA foreign_keys = ON")
                self._file.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                    return False
                raise
        return True

    def _take_row(self, name: str, request_hash: bytes) -> None:
        with in_words(self._where):
            if self._file.execute(statement("sqlite", "find")).fetchone() is None:
                raise UnknownDatabase(not_installed(name, self._where))
            asked = {"effect_id": self._effect_id, "request_hash": request_hash}
            if self._file.execute(statement("sqlite", "insert"), asked).rowcount == 0:
                row = self._file.execute(statement("sqlite", "read"), {"effect_id": self._effect_id}).fetchone()
                self.recorded = recorded(row, request_hash, self._where, self._effect_id)
        self._file.set_authorizer(_may)

    def _record(self, result: bytes) -> None:
        if self.recorded is not None or not self._file.in_transaction:
            raise ended()
        self._file.set_authorizer(None)
        with in_words(self._where):
            self._file.execute(f"PRAGMA busy_timeout = {int(COMMITTING * 1000)}")
            asked = {"effect_id": self._effect_id, "result": result}
            if self._file.execute(statement("sqlite", "record"), asked).rowcount != 1:
                raise ended()

    def _commit(self) -> None:
        try:
            self._file.execute("COMMIT")
        except sqlite3.IntegrityError:
            raise  # a deferred constraint of the author's
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise in_words_of_the_port(self._where, error) from error
            raise CommitUnclear(f"{self._where} failed while it committed: {error}") from error

    def _close(self) -> None:
        with suppress(sqlite3.Error):
            self._file.set_authorizer(None)
            if self._file.in_transaction:
                self._file.execute("ROLLBACK")
        self._file.close()


class SqliteTarget:
    """Fulfils `adapters.databases.named.Target`."""

    def __init__(self, name: str, path: str) -> None:
        self._name = name
        self._path = Path(path)
        self._where = f"database {name} (SQLite file {path})"
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def transaction(self, effect_id: str, request_hash: bytes) -> AsyncIterator[SqliteTransaction]:
        async with self._turn:
            transaction = SqliteTransaction(self._open(), effect_id, self._where)
            try:
                await transaction.begin(self._name, request_hash)
                yield transaction
            finally:
                await transaction.end()

    async def pending(self) -> list[str]:
        return await asyncio.to_thread(self._pending)

    async def install(self) -> list[str]:
        async with self._turn:
            return await asyncio.to_thread(self._install)

    async def close(self) -> None:
        """Nothing is open between transactions."""

    def _open(self) -> sqlite3.Connection:
        if not self._path.is_file():
            raise UnknownDatabase(
                f"{self._where}: there is no such file, and it is not Holdfast's to make: correct the settings, or let "
                "your application create it"
            )
        with in_words(self._where):
            return sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode=rw",
                uri=True,
                timeout=WAITING,
                isolation_level=None,  # transactions begin and end where this file says so
                check_same_thread=False,  # made here, used in its own thread only
            )

    def _pending(self) -> list[str]:
        with closing(self._open()) as file, in_words(self._where):
            found = file.execute(statement("sqlite", "find")).fetchone()
        return [] if found else [f"table holdfast_effects in {self._where}"]

    def _install(self) -> list[str]:
        with closing(self._open()) as file, in_words(self._where):
            file.execute(f"PRAGMA busy_timeout = {int(COMMITTING * 1000)}")
            file.execute("BEGIN IMMEDIATE")
            if file.execute(statement("sqlite", "find")).fetchone():
                return []
            file.execute(statement("sqlite", "install"))
            file.execute("COMMIT")
        return [f"table holdfast_effects in {self._where}"]


@contextmanager
def in_words(where: str) -> Iterator[None]:
    """Tell what goes wrong with statements of ours in the words of the port."""
    try:
        yield
    except sqlite3.Error as error:
        raise in_words_of_the_port(where, error) from error


def _may(action: int, *_: str | None) -> int:
    """Leave the beginning and the end of transactions to Holdfast."""
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_TRANSACTION else sqlite3.SQLITE_OK
