"""The payment provider's book: what was charged, declined and refunded, as JSON lines in one file.

Laws of this file:
- An entry is on disk (fsync) before anybody hears of it.
- The file only grows. The exception: a torn last line, left by a crash and never answered for: opening cuts it off.
- Damage anywhere else is an error and never skipped: the book is what tests trust.
"""

import asyncio
import fcntl
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the book, with the answer that its idempotency key gives from then on."""

    kind: Literal["charge", "decline", "refund", "failure"]
    id: str
    order: str
    amount: int
    currency: str
    at: float
    key: str | None = None
    body_hash: str = ""
    charge: str | None = None
    status: int = 200
    answer: str = ""


class Charge(msgspec.Struct, frozen=True):
    """Money that was taken."""

    id: str
    order: str
    amount: int
    currency: str
    key: str | None
    at: float


class DamagedBookError(ValueError):
    """A line before the last one cannot be read: the file was changed by something else than the provider."""


def read_entries(path: Path | str) -> list[Entry]:
    """Read the whole book; a torn last line counts as never written, a missing file as an empty book."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return []
    whole = content[: content.rfind(b"\n") + 1]
    entries = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            entries.append(msgspec.json.decode(line, type=Entry))
        except msgspec.MsgspecError as error:
            message = f"{path}, line {number} is not an entry of a payment book: {error}"
            raise DamagedBookError(message) from error
    return entries


def read_book(path: Path | str) -> list[Charge]:
    """Read the charges that were really made, in the order in which they were made."""
    return [charge_of(entry) for entry in read_entries(path) if entry.kind == "charge"]


def charged_twice(charges: Iterable[Charge]) -> dict[str, list[Charge]]:
    """Find the orders that were charged more than once, each with all its charges."""
    by_order: defaultdict[str, list[Charge]] = defaultdict(list)
    for charge in charges:
        by_order[charge.order].append(charge)
    return {order: made for order, made in by_order.items() if len(made) > 1}


def charge_of(entry: Entry) -> Charge:
    """Give what a reader of the book wants to know about a charge."""
    return Charge(entry.id, entry.order, entry.amount, entry.currency, entry.key, entry.at)


class Book:
    """The open book of one provider process; a second process on the same file is refused."""

    def __init__(self, path: Path) -> None:
        """Open or create the book, lock it, and cut off a torn last line."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._file)
            message = f"the book {path} is in use by another provider process"
            raise OSError(message) from error
        content = path.read_bytes()
        os.ftruncate(self._file, content.rfind(b"\n") + 1)
        _sync_folder(path.parent)
        self.entries = read_entries(path)
        self._waiting: list[tuple[Entry, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def append(self, entry: Entry) -> None:
        """Write `entry`; returns once it is on disk. Entries that come while the disk is busy share the next fsync."""
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, written))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_waiting())
        await written

    async def _write_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry, _ in batch)
            try:
                await asyncio.to_thread(_write_durably, self._file, lines)
            except OSError as error:
                # Whether the lines are on disk is unknown, so memory and disk may differ: only a restart can tell.
                os.write(2, f"the book cannot be written: {error}\n".encode())
                os._exit(1)
            self.entries.extend(entry for entry, _ in batch)
            for _, written in batch:
                if not written.done():
                    written.set_result(None)


def _write_durably(file: int, lines: bytes) -> None:
    rest = memoryview(lines)
    while rest:
        rest = rest[os.write(file, rest) :]
    os.fsync(file)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
