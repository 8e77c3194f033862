"""Numbered migrations: SQL files that lead one way, from any earlier schema to the present one.

Laws of this file:
- A released migration is never changed; a new one is added behind it.
- The number of the last one applied is the schema's number; a greater number than ours is a newer version's.
- A migration says `-- safe from N` when a process that knows schema N may serve beside it and after it; else it is safe
  from itself on. A schema is safe from the greatest N of its migrations. So a release can be taken back.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from holdfast.ports.installation import NewerSchema

_SAFE_FROM = re.compile(r"^-- safe from (\d+)$", re.MULTILINE)


class Migration(msgspec.Struct, frozen=True):
    """One file `NNNN_name.sql`."""

    number: int
    name: str
    sql: str

    @property
    def safe_from(self) -> int:
        """Tell the oldest schema whose processes may go on."""
        said = _SAFE_FROM.search(self.sql)
        return int(said.group(1)) if said else self.number


def migrations(folder: Path) -> tuple[Migration, ...]:
    """Read the migrations of an adapter, in order, and see that none is missing."""
    found = tuple(
        Migration(int(path.stem.partition("_")[0]), path.stem, path.read_text())
        for path in sorted(folder.glob("*.sql"))
    )
    if [one.number for one in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"the migrations in {folder} are not numbered from 1 without a gap")
    return found


def pending(known: tuple[Migration, ...], facts: Mapping[str, str], where: str) -> tuple[Migration, ...]:
    """Tell which migrations a schema still needs, by the facts of its installation.

    Raises:
        NewerSchema: it has more than we know, and is not safe for us.
    """
    installed = int(facts.get("schema", 0))
    if installed > len(known) and int(facts.get("safe_from", installed)) > len(known):
        raise NewerSchema(
            f"{where} has schema {installed}, this version of Holdfast knows up to {len(known)}: upgrade this process"
        )
    return known[installed:]


def facts_after(migration: Migration, known: Iterable[Migration]) -> dict[str, str]:
    """Give the facts that a schema bears once `migration` is applied."""
    applied = [one for one in known if one.number <= migration.number]
    return {"schema": str(migration.number), "safe_from": str(max(one.safe_from for one in applied))}
