"""The flight recorder in a memory-mapped file, one for each process, in a folder of this machine.

Laws of this file:
- A mapped page is the kernel's: whatever ends the process alone leaves it as it was. Nothing is synced, for what ends
  the machine is not counted: a record of another boot is thrown away.
- The owner holds a POSIX lock on its file for as long as it lives. The kernel gives it back when the process ends,
  tells processes of other containers the same, and does not hand it on to a fork.
- What is noted is one record, written by one call of C, that says in its first byte whether it stands.
- The room is allocated when the file is made: a write to a mapped hole on a full disk would end the process.
"""

import fcntl
import hashlib
import mmap
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from holdfast.adapters.linux import boot
from holdfast.ports.deaths import Death
from holdfast.ports.recorder import Crash

SUFFIX = ".flight"
MAGIC: Final = b"holdfast-flight-2\n"
SLOTS = 1_024
"""Attempts that can be noted at once; those beyond are executed all the same."""

_STANDS: Final = 1
_HEAD = struct.Struct("<18s64sH512s")
_STOPPING: Final = 1_023
_TURN: Final = 1_024
_TURN_RECORD = struct.Struct("<BHIQ255s")
_ACCUSED: Final = 1_536
_ACCUSATION = struct.Struct("<BHH64s1900s")
_FIRST: Final = 4_096
_SLOT: Final = 1_024
_HELD: Final = 996
_ATTEMPT = struct.Struct(f"<BHII{_HELD}s")
_SIZE: Final = _FIRST + SLOTS * _SLOT

_own: dict[Path, "FileRecorder"] = {}
"""Records of this very process: a lock of one's own is no obstacle, and closing a second descriptor would end it."""

_write_turn = _TURN_RECORD.pack_into
_write_attempt = _ATTEMPT.pack_into


class FileRecorder:
    """Fulfils `ports.recorder.FlightRecorder`."""

    def __init__(self, path: Path, process: str) -> None:
        self._path = path
        made = path.with_suffix(".new")
        self._file = os.open(made, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        _own[path] = self
        try:
            os.posix_fallocate(self._file, 0, _SIZE)
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._map = mmap.mmap(self._file, _SIZE)
            name = process.encode()[:512]
            self._map[: _HEAD.size] = _HEAD.pack(MAGIC, boot().encode(), len(name), name)
            made.rename(path)  # whoever reads it finds it locked
        except BaseException:
            os.close(self._file)
            made.unlink(missing_ok=True)
            _own.pop(path, None)
            raise
        self._free = list(range(_FIRST, _SIZE, _SLOT))

    def turn(self, run_id: str, incarnation: int, seq: int) -> None:
        _write_turn(self._map, _TURN, _STANDS, len(run_id), incarnation, seq, run_id.encode())

    def landed(self) -> None:
        self._map[_TURN] = 0

    def accuse(self, reason: str, detail: str) -> None:
        word, text = reason.encode()[:64], detail.encode("utf-8", "replace")[:1900]
        _ACCUSATION.pack_into(self._map, _ACCUSED, _STANDS, len(word), len(text), word, text)

    def begin(self, run_id: str, incarnation: int, step_id: str, attempt: int) -> int:
        held = f"{run_id}/{step_id}".encode("utf-8", "replace")  # no run id has a "/"
        if not self._free or len(held) > _HELD:
            return 0
        slot = self._free.pop()
        _write_attempt(self._map, slot, _STANDS, len(held), incarnation, attempt, held)
        return slot

    def end(self, slot: int) -> None:
        if slot:
            self._map[slot] = 0
            self._free.append(slot)

    def stopping(self) -> None:
        self._map[_STOPPING] = 1

    def close(self) -> None:
        if self._path in _own:
            self._path.unlink(missing_ok=True)
            os.close(self._file)  # the map stays: an attempt may end after this
            _own.pop(self._path, None)


def told_to_stop() -> None:
    """Note in every record of this process that it was told to stop. May be called by a signal's handler."""
    for recorder in list(_own.values()):
        recorder.stopping()


class FlightFolder:
    """Fulfils `ports.recorder.FlightRecords`: the folder that one installation's processes share on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._taken: dict[str, tuple[Path, int]] = {}

    def record(self, process: str) -> FileRecorder:
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileRecorder(self.folder / f"{_short(process)}{SUFFIX}", process)

    def crashed(self) -> Sequence[Crash]:
        if not self.folder.is_dir():
            return ()
        found = (self._take(path) for path in sorted(self.folder.glob(f"*{SUFFIX}")) if path not in _own)
        return [crash for crash in found if crash is not None]

    def settle(self, crash: Crash) -> None:
        path, opened = self._taken.pop(crash.process)
        path.unlink(missing_ok=True)
        os.close(opened)

    def _take(self, path: Path) -> Crash | None:
        """Take a record that nobody lives to hold; a second reader finds it locked, or gone."""
        if any(path == taken for taken, _ in self._taken.values()):
            return None  # it was found before, and what it says is still to be stored
        try:
            opened = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        crash = None
        try:
            fcntl.lockf(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            crash = _read(os.pread(opened, _SIZE, 0)) if os.fstat(opened).st_nlink else None
            if crash is None or not crash.held:
                path.unlink(missing_ok=True)
                crash = None
        except OSError:  # its owner lives
            crash = None
        finally:
            if crash is None:
                os.close(opened)
        if crash is not None:
            self._taken[crash.process] = (path, opened)
        return crash


def _read(data: bytes) -> Crash | None:
    """Read a record; None if it is of another boot, or was not finished."""
    if len(data) < _SIZE:
        return None
    magic, of_boot, length, name = _HEAD.unpack_from(data)
    if magic != MAGIC or of_boot.rstrip(b"\0").decode() != boot():
        return None
    process = name[:length].decode("utf-8", "replace")
    held = [] if data[_STOPPING] else [*_turn(data, process), *_attempts(data, process)]
    return Crash(process, tuple(held))


def _turn(data: bytes, process: str) -> list[Death]:
    stands, length, incarnation, seq, name = _TURN_RECORD.unpack_from(data, _TURN)
    if not stands:
        return []
    accused, words, texts, word, text = _ACCUSATION.unpack_from(data, _ACCUSED)
    death = Death(
        run_id=name[:length].decode("ascii", "replace"),
        incarnation=incarnation,
        step_id="",
        process=process,
        seq=seq,
        reason=word[:words].decode("utf-8", "replace") if accused else "",
        detail=text[:texts].decode("utf-8", "replace") if accused else "",
    )
    return [death]


def _attempts(data: bytes, process: str) -> list[Death]:
    """Read the attempts that were held, of each step the latest."""
    found: dict[tuple[str, int, str], Death] = {}
    for slot in range(_FIRST, _SIZE, _SLOT):
        if data[slot]:
            _, length, incarnation, attempt, held = _ATTEMPT.unpack_from(data, slot)
            run_id, _, step_id = held[:length].decode("utf-8", "replace").partition("/")
            death = Death(run_id=run_id, incarnation=incarnation, step_id=step_id, process=process, attempt=attempt)
            known = found.setdefault(death.place[:3], death)
            if known.attempt < attempt:
                found[death.place[:3]] = death
    return list(found.values())


def _short(process: str) -> str:
    return hashlib.blake2b(process.encode(), digest_size=12).hexdigest()
