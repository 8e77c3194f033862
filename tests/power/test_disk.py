"""The disk of these tests keeps what was synced, and may lose everything else: its laws, operation by operation."""

from pathlib import Path
from random import Random

import pytest

from tests.power.disk import MOODS, SECTOR, Disk, Loss, Mood
from tests.power.journal import Operation

NEW = bytes([1]) * 3 * SECTOR
LATER = bytes([2]) * 3 * SECTOR


class Script:
    """Operations, numbered as they come."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.number = 0

    def do(self, kind: str, name: str, data: bytes = b"", at: int = 0) -> int:
        self.disk.apply(Operation(self.number, kind, name, data, at))
        self.number += 1
        return self.number

    def sync(self, name: str) -> None:
        self.do("S", name, at=self.number)

    def left(self, folder: Path, *moods: Mood, prompt: bool = False) -> set[bytes | None]:
        """Give all that a hundred power losses leave of the file `f`."""
        found: set[bytes | None] = set()
        for seed in range(100):
            root = folder / f"{seed}-{len(list(folder.iterdir()))}"
            root.mkdir()
            chance = Random(seed)
            self.disk.lose_power(Loss(chance.choice(moods or MOODS), prompt, chance, chance.random()), root)
            found.add((root / "f").read_bytes() if (root / "f").exists() else None)
        return found


@pytest.fixture
def script() -> Script:
    """A disk with one safe file."""
    script = Script()
    script.do("C", "f")
    script.do("W", "f", NEW)
    script.sync("f")
    script.sync("")
    return script


def test_what_was_synced_survives(script: Script, tmp_path: Path) -> None:
    assert script.left(tmp_path) == {NEW}


def test_what_was_not_synced_survives_wholly_in_part_or_not_at_all(script: Script, tmp_path: Path) -> None:
    script.do("W", "f", LATER)
    assert script.left(tmp_path, "nothing") == {NEW}
    assert script.left(tmp_path, "everything") == {LATER}
    assert script.left(tmp_path, "writes") == {NEW, LATER}
    torn = script.left(tmp_path, "sectors")
    assert len(torn) == 2**3
    assert LATER[:SECTOR] + NEW[SECTOR : 2 * SECTOR] + LATER[2 * SECTOR :] in torn


def test_later_writes_may_survive_without_earlier_ones(script: Script, tmp_path: Path) -> None:
    script.do("W", "f", b"early", at=0)
    script.do("W", "f", b"late", at=2 * SECTOR)
    assert NEW[: 2 * SECTOR] + b"late" + NEW[2 * SECTOR + 4 :] in script.left(tmp_path, "writes")


def test_a_sync_keeps_what_came_before_it_began_and_nothing_else(script: Script, tmp_path: Path) -> None:
    began = script.do("W", "f", b"before")
    script.do("W", "f", b"meanwhile", at=SECTOR)
    script.do("S", "f", at=began)
    assert script.left(tmp_path, "nothing") == {b"before" + NEW[6:]}


def test_a_length_is_safe_when_it_was_synced(script: Script, tmp_path: Path) -> None:
    script.do("T", "f", at=SECTOR)
    assert script.left(tmp_path, "writes") == {NEW, NEW[:SECTOR]}
    script.sync("f")
    assert script.left(tmp_path) == {NEW[:SECTOR]}
    script.do("W", "f", b"x", at=2 * SECTOR)
    script.sync("f")
    assert script.left(tmp_path) == {NEW[:SECTOR] + bytes(SECTOR) + b"x"}


def test_a_name_is_safe_when_its_folder_was_synced_unless_the_disk_is_prompt(tmp_path: Path) -> None:
    script = Script()
    script.do("C", "f")
    script.do("W", "f", NEW)
    script.sync("f")
    assert script.left(tmp_path, prompt=True) == {NEW}
    assert script.left(tmp_path) == {NEW, None}
    script.sync("")
    assert script.left(tmp_path) == {NEW}


def test_a_removed_file_may_come_back_in_place_of_its_successor(script: Script, tmp_path: Path) -> None:
    script.do("U", "f")
    script.do("C", "f")
    script.do("W", "f", LATER)
    script.sync("f")
    assert {NEW, LATER, None} <= script.left(tmp_path, "sectors")
    script.sync("")
    assert script.left(tmp_path) == {LATER}


def test_a_lost_folder_takes_along_what_is_in_it(tmp_path: Path) -> None:
    disk = Disk()
    for operation in (
        Operation(0, "D", "a", b"", 0),
        Operation(1, "C", "a/f", b"", 0),
        Operation(2, "S", "a/f", b"", 2),
        Operation(3, "S", "a", b"", 3),
    ):
        disk.apply(operation)
    disk.lose_power(Loss("nothing", prompt=False, chance=Random(0)), tmp_path)
    assert list(tmp_path.iterdir()) == []
