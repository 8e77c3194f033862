"""A disk that keeps what was synced, and of the rest whatever it likes.

Laws of this file:
- What was written to a file before a sync of it began is safe when the sync returns: bytes and length.
- Of what came later, each 512-byte sector holds on its own any of the contents that it had since, in any order between
  sectors; the length of the file is any that it had since. What was never written reads as zeros.
- A name in a folder is safe once the folder was synced after it was made or removed; until then each name is, on its
  own, at any of its states since. A disk that is `prompt` with names has them at once. A folder that is lost takes
  along what is in it.
"""

from pathlib import Path, PurePosixPath
from random import Random
from typing import Literal, NamedTuple

from tests.power.journal import Operation

SECTOR = 512
NEVER = -1

Mood = Literal["nothing", "everything", "writes", "sectors"]
"""What of the unsynced survives: nothing; all; some operations, each whole; some sectors, each on its own."""

MOODS: tuple[Mood, ...] = ("nothing", "everything", "writes", "sectors")


class Loss(NamedTuple):
    """How a power loss goes."""

    mood: Mood
    prompt: bool
    chance: Random
    share: float = 0.5

    def last(self, numbers: list[int], survivors: "Survivors") -> int:
        """Choose among the states a thing had since it was safe (named by operation): an index, or NEVER."""
        match self.mood:
            case "nothing":
                return NEVER
            case "everything":
                return len(numbers) - 1
            case "writes":
                return max((n for n, number in enumerate(numbers) if survivors.has(number)), default=NEVER)
            case "sectors":
                return self.chance.randrange(len(numbers)) if self.chance.random() < self.share else NEVER


class Survivors:
    """Which operations survive, decided once each."""

    def __init__(self, loss: Loss) -> None:
        self._loss = loss
        self._decided: dict[int, bool] = {}

    def has(self, number: int) -> bool:
        return self._decided.setdefault(number, self._loss.chance.random() < self._loss.share)


class Inode:
    """One file: what the processes see of it, and what is safe."""

    def __init__(self, *, folder: bool = False) -> None:
        self.folder = folder
        self.seen = bytearray()
        self._safe = bytearray()
        self._safe_length = 0
        self._sectors: dict[int, list[tuple[int, bytes]]] = {}
        self._lengths: list[tuple[int, int]] = []

    def write(self, number: int, at: int, data: bytes) -> None:
        end = at + len(data)
        if end > len(self.seen):
            self.seen.extend(bytes(end - len(self.seen)))
            self._lengths.append((number, end))
        self.seen[at:end] = data
        self._note(number, at // SECTOR, -(-end // SECTOR))

    def truncate(self, number: int, length: int) -> None:
        before = len(self.seen)
        if length < before:
            del self.seen[length:]
            self._note(number, length // SECTOR, -(-before // SECTOR))
        else:
            self.seen.extend(bytes(length - before))
        self._lengths.append((number, length))

    def _note(self, number: int, first: int, end: int) -> None:
        for sector in range(first, end):
            content = bytes(self.seen[sector * SECTOR : (sector + 1) * SECTOR]).ljust(SECTOR, b"\0")
            self._sectors.setdefault(sector, []).append((number, content))

    def sync(self, missed: int) -> None:
        """Make safe what came before the operation `missed`."""
        left: dict[int, list[tuple[int, bytes]]] = {}
        for sector, states in self._sectors.items():
            early = [content for number, content in states if number < missed]
            if early:
                _put(self._safe, sector, early[-1])
            if len(early) < len(states):
                left[sector] = states[len(early) :]
        self._sectors = left
        lengths = [length for number, length in self._lengths if number < missed]
        if lengths:
            self._safe_length = lengths[-1]
            del self._lengths[: len(lengths)]

    def left_by(self, loss: Loss, survivors: Survivors) -> bytes:
        """Give the content after a power loss."""
        content = bytearray(self._safe)
        for sector, states in self._sectors.items():
            chosen = loss.last([number for number, _ in states], survivors)
            if chosen != NEVER:
                _put(content, sector, states[chosen][1])
        length = self._safe_length
        if self._lengths:
            chosen = loss.last([number for number, _ in self._lengths], survivors)
            length = length if chosen == NEVER else self._lengths[chosen][1]
        return bytes(content[:length]).ljust(length, b"\0")


def _put(content: bytearray, sector: int, data: bytes) -> None:
    at = sector * SECTOR
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at : at + SECTOR] = data


class _Name:
    """A name in a folder: what it stands for, and what it safely stands for."""

    def __init__(self) -> None:
        self.safe: Inode | None = None
        self.states: list[tuple[int, Inode | None]] = []

    @property
    def seen(self) -> Inode | None:
        return self.states[-1][1] if self.states else self.safe


class Disk:
    """The files of one folder, operation by operation."""

    def __init__(self) -> None:
        self._names: dict[PurePosixPath, _Name] = {}

    def apply(self, operation: Operation) -> None:
        number, kind, name, data, at = operation
        path = PurePosixPath(name)
        match kind:
            case "C":
                self._bind(number, path, Inode())
            case "D":
                self._bind(number, path, Inode(folder=True))
            case "U":
                self._bind(number, path, None)
            case "W":
                self._at(path).write(number, at, data)
            case "T":
                self._at(path).truncate(number, at)
            case "S":
                self._sync(path, at)
            case "M":
                pass
            case _:
                raise ValueError(f"operation {number} is of an unknown kind {kind!r}")

    def _bind(self, number: int, path: PurePosixPath, inode: Inode | None) -> None:
        self._names.setdefault(path, _Name()).states.append((number, inode))

    def _at(self, path: PurePosixPath) -> Inode:
        inode = self._names[path].seen
        assert inode is not None, f"{path} is written to and is not there"
        return inode

    def _sync(self, path: PurePosixPath, missed: int) -> None:
        if path in self._names and not self._at(path).folder:
            self._at(path).sync(missed)
            return
        for name, entry in self._names.items():
            if name.parent == path:
                while entry.states and entry.states[0][0] < missed:
                    _, entry.safe = entry.states.pop(0)

    def seen(self) -> dict[str, bytes]:
        """Give the files as the processes see them."""
        found = {str(name): entry.seen for name, entry in self._names.items()}
        return {name: bytes(inode.seen) for name, inode in found.items() if inode is not None and not inode.folder}

    def lose_power(self, loss: Loss, folder: Path) -> None:
        """Lay down in `folder`, which is empty, what a power loss leaves at this moment."""
        survivors = Survivors(loss)
        for name, entry in sorted(self._names.items()):  # a folder before what is in it
            inode = entry.seen
            if entry.states and not loss.prompt:
                chosen = loss.last([number for number, _ in entry.states], survivors)
                inode = entry.safe if chosen == NEVER else entry.states[chosen][1]
            place = folder / name
            if inode is None or not place.parent.exists():
                continue
            if inode.folder:
                place.mkdir()
            else:
                place.write_bytes(inode.left_by(loss, survivors))
