"""Numbered migrations: SQL files that lead one way, from any earlier schema to the present one.

Laws of this file:
- A released migration is never changed; a new one is added behind it.
- The number of the last one applied is the schema's number; a greater number than ours is a newer version's.
"""

from pathlib import Path

import msgspec

from holdfast.ports.store import NewerSchema


class Migration(msgspec.Struct, frozen=True):
    """One file `NNNN_name.sql`."""

    number: int
    name: str
    sql: str


def migrations(folder: Path) -> tuple[Migration, ...]:
    """Read the migrations of an adapter, in order, and see that none is missing."""
    found = tuple(
        Migration(int(path.stem.partition("_")[0]), path.stem, path.read_text())
        for path in sorted(folder.glob("*.sql"))
    )
    if [one.number for one in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"the migrations in {folder} are not numbered from 1 without a gap")
    return found


def pending(known: tuple[Migration, ...], installed: int, where: str) -> tuple[Migration, ...]:
    """Tell which migrations a schema still needs.

    Raises:
        NewerSchema: it has more than we know.
    """
    if installed > len(known):
        raise NewerSchema(
            f"{where} has schema {installed}, this version of Holdfast knows up to {len(known)}: upgrade this process"
        )
    return known[installed:]
