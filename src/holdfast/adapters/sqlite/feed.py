"""Reading the embedded log: one reader's way through the records of some topics.

Laws of this file:
- A record is handed out once by a reader, in the order of places, unless it rewinds.
- Places rise by one with every record of the file. So what this process publishes goes to its readers from memory where
  it is the very next; else something of another process lies between, and the file is read.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec

from holdfast.adapters.sqlite.file import SqliteFile
from holdfast.adapters.sqlite.statements import statement
from holdfast.ports.log import Headers, Record, Unreachable
from holdfast.ports.unavailable import Unavailable

PAGE = 512

_headers = msgspec.msgpack.Decoder(Headers).decode

Wanted = Callable[[Record], bool]


class Feed:
    """What one reader still has to read: the records of `topics` that are `wanted`, behind the place `behind`."""

    def __init__(self, file: SqliteFile, topics: Collection[str], *, behind: int = 0, wanted: Wanted) -> None:
        self._file = file
        self._topics = frozenset(topics)
        self._wanted = wanted
        self._place = behind  # all up to here was handed out, or is ready, or is nothing of ours
        self._unread = True
        self._ready: deque[Record] = deque()
        self._woken: asyncio.Future[None] | None = None
        self._rewound = 0

    def offer(self, first: int, records: Sequence[Record]) -> None:
        """Take what this process has just published at the places from `first` on."""
        if first == self._place + 1:
            self._place += len(records)
            self._ready.extend(one for one in records if one.topic in self._topics and self._wanted(one))
        elif first > self._place:
            self._unread = True
        if self._ready or self._unread:
            self.wake()

    def noticed(self) -> None:
        """Somebody has written to the file: perhaps another process, perhaps a record."""
        self._unread = True
        self.wake()

    def wake(self) -> None:
        """Let a waiting `poll` look again."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def rewind(self, behind: int = 0) -> None:
        """Read everything behind `behind` again."""
        self._rewound += 1
        self._place = behind
        self._ready.clear()
        self.noticed()

    async def poll(self, wait: float, limit: int) -> list[Record]:
        """Give at most `limit` records: at once if there are any, else within `wait` seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        while True:
            self._file.look_if_due()
            if self._unread and not self._ready:
                await self._read()
            if self._ready:
                return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
            if self._unread:
                continue
            left = until - loop.time()
            if left <= 0:
                return []
            await self._wait(left)

    async def _wait(self, seconds: float) -> None:
        self._woken = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                with self._file.looking():
                    await self._woken
        except TimeoutError:
            pass
        finally:
            self._woken = None

    async def _read(self) -> None:
        behind, rewound = self._place, self._rewound
        topics = list(self._topics)
        self._unread = False

        def work(connection: sqlite3.Connection) -> tuple[list[Any], int]:
            rows = statement("read_records").read(connection, topics, (behind,), (PAGE,))
            return rows, rows[-1][0] if len(rows) == PAGE else end_of_records(connection)

        try:
            rows, end = await self._file.read(work)
        except BaseException as error:
            self._unread = True
            if isinstance(error, Unavailable):
                raise Unreachable(str(error)) from error
            raise
        if rewound != self._rewound:
            return  # the reader was sent back meanwhile
        records = (record_of(row) for row in rows if row[0] > self._place)
        self._ready.extend(record for record in records if self._wanted(record))
        self._place = max(self._place, end)
        self._unread = self._unread or len(rows) == PAGE


def end_of_records(connection: sqlite3.Connection) -> int:
    """Tell the last place ever given."""
    rows = statement("end_of_records").all(connection)
    return int(rows[0][0]) if rows else 0


def record_of(row: Any) -> Record:
    """Say a row in the words of the port."""
    place, topic, partition, key, value, headers, at = row
    return Record(topic, partition, place, key, value, _headers(headers), at)
