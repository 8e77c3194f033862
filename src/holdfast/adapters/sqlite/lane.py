"""A connection in a thread of its own, with a queue in front.

Short work on a quick disk is not worth two changes of thread: while nothing else is under way it is done at once, in
the event loop. A disk that turns slow, or a file that somebody else has locked, sends it to the thread.

Laws of this file:
- Work is done one after the other, in the order it was asked for; each piece is one transaction or none.
- The thread wakes the event loop once for all that it finished meanwhile.
- What was asked before `close` is done before it returns.
- The thread gets its turn while the event loop is busy. CPython takes its lock away from a thread that has held it for
  the switch interval *without a break*; a busy loop breaks for an instant at every turn to look at its sockets, and so
  starved this thread for many seconds with the default of 5 ms. The interval must be shorter than a turn of the loop.
"""

import asyncio
import sqlite3
import sys
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from time import perf_counter  # by name: the guard of workflow code watches the module's
from typing import Any, TypeVar

from holdfast.adapters.sqlite.errors import in_words_of_the_port
from holdfast.ports.unavailable import Unavailable

BUSY = 10.0
"""Seconds that the thread waits for another process's lock."""
TURN = 0.0001
SLOW = 0.004
"""Seconds that short work may take, on average, before it blocks the event loop for too long."""

Value = TypeVar("Value")
Work = Callable[[sqlite3.Connection], Value]


class Lane:
    """One connection and its thread; both begin with the first work."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], name: str) -> None:
        self.connect = connect
        self.name = name
        self._asked: SimpleQueue[tuple[Work[Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._finished: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._waking = False
        self._ended: asyncio.Future[None] | None = None
        self.closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection: sqlite3.Connection | None = None
        self._under_way = 0
        self._patient = True
        self._usual = 0.0

    async def call(self, work: Work[Value], *, short: bool = False) -> Value:
        """Do `work` in the thread, or at once if it is `short`; errors come back in the words of the port."""
        if self.closed:
            raise Unavailable(f"{self.name} is closed")
        if short and self._under_way == 0 and self._usual < SLOW:
            try:
                return self._at_once(work)
            except _Locked:
                pass  # by another process: its turn may be long, so wait for ours in the thread
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
            sys.setswitchinterval(min(TURN, sys.getswitchinterval()))
            threading.Thread(target=self._run, name=self.name, daemon=True).start()
        answer: asyncio.Future[Value] = loop.create_future()
        self._under_way += 1
        self._asked.put((work, answer))
        return await answer

    def _at_once(self, work: Work[Value]) -> Value:
        connection = self._ready(patient=False)
        began = perf_counter()
        try:
            value = work(connection)
        except BaseException as raised:
            _roll_back(connection)
            if isinstance(raised, sqlite3.OperationalError) and raised.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise _Locked from raised
            raise in_words_of_the_port(self.name, raised) from raised
        self._note(perf_counter() - began)
        return value

    def _ready(self, *, patient: bool) -> sqlite3.Connection:
        """Give the connection, made to wait for another process's lock or not."""
        if self._connection is None:
            self._connection = self.connect()
            self._patient = True
        if patient != self._patient:
            self._connection.execute(f"PRAGMA busy_timeout = {int(BUSY * 1000) if patient else 0}")
            self._patient = patient
        return self._connection

    def _note(self, seconds: float) -> None:
        self._usual += (seconds - self._usual) / 16

    async def close(self) -> None:
        """Finish what was asked, close the connection, end the thread."""
        if self.closed:
            return
        self.closed = True
        if self._loop is None:
            self._close_connection()
            return
        self._ended = self._loop.create_future()
        self._asked.put(None)
        await self._ended

    def _close_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None:
            work, answer = asked
            value, error = None, None
            try:
                connection = self._ready(patient=True)
                began = perf_counter()
                value = work(connection)
                self._note(perf_counter() - began)
            except BaseException as raised:  # noqa: BLE001 - it is not lost: whoever asked gets it
                error = in_words_of_the_port(self.name, raised)
                _roll_back(self._connection)
            self._finish(answer, value, error)
        self._close_connection()
        if self._ended is not None:
            self._finish(self._ended, None, None)

    def _finish(self, answer: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
        self._finished.append((answer, value, error))
        if self._waking:
            return
        self._waking = True
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            pass  # the loop was closed while we worked: nobody waits any more

    def _deliver(self) -> None:
        self._waking = False  # before looking: what is finished from here on wakes again
        while self._finished:
            answer, value, error = self._finished.popleft()
            self._under_way -= 1
            if answer.done():
                continue  # whoever asked was cancelled
            if error is None:
                answer.set_result(value)
            else:
                answer.set_exception(error)


class _Locked(Exception):
    """Another process has the file for a moment."""


def _roll_back(connection: sqlite3.Connection | None) -> None:
    try:
        if connection is not None and connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        pass  # SQLite has rolled back by itself, or the file is gone: the first error says why
