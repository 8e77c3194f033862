"""Installing and checking the schema of one file.

Laws of this file:
- Each migration is one transaction of SQLite's only writer, so two that install at once do each thing once.
- A file of a newer version is not touched, unless it says that it is safe for this one.
"""

import sqlite3
from functools import cache
from pathlib import Path
from uuid import uuid4

from holdfast.adapters.migrations import Migration, facts_after, migrations, pending
from holdfast.adapters.sqlite.statements import statement
from holdfast.ports.installation import NotInstalled

OWN_FACTS = {"schema", "safe_from", "shards", "installation"}


@cache
def known() -> tuple[Migration, ...]:
    """Read this adapter's migrations."""
    return migrations(Path(__file__).parent / "migrations")


def names() -> list[str]:
    """Name all migrations."""
    return [migration.name for migration in known()]


def check(path: Path, connection: sqlite3.Connection) -> None:
    """See that the file bears exactly the schema that this version needs."""
    missing = pending_names(connection, path)
    if len(missing) == len(known()):
        raise NotInstalled(f"{path} holds no installation: run holdfast install")
    if missing:
        raise NotInstalled(f"{path} has an older schema, {', '.join(missing)} is missing: run holdfast install")


def pending_names(connection: sqlite3.Connection, path: Path) -> list[str]:
    """Name what `install` would apply."""
    return [migration.name for migration in pending(known(), _facts(connection), str(path))]


def install(connection: sqlite3.Connection, path: Path, shards: int) -> list[str]:
    """Migrate to the present schema and make the shard rows; tells what was done."""
    _refuse_other_number(_facts(connection), path, shards)
    done = []
    while name := _migrate_once(connection, path):
        done.append(name)
    connection.execute("BEGIN IMMEDIATE")
    facts = _facts(connection)
    _refuse_other_number(facts, path, shards)
    if "shards" not in facts:
        statement("make_shards").write(connection, range(shards))
        statement("set_meta").write(connection, ("shards", str(shards)))
        done.append(f"{shards} shards")
    if "installation" not in facts:
        statement("set_meta").write(connection, ("installation", uuid4().hex))
    connection.execute("COMMIT")
    return done


def _migrate_once(connection: sqlite3.Connection, path: Path) -> str | None:
    connection.execute("BEGIN IMMEDIATE")
    missing = pending(known(), _facts(connection), str(path))
    if missing:
        for text in _statements(missing[0].sql):
            connection.execute(text)
        for fact in facts_after(missing[0], known()).items():
            statement("set_meta").write(connection, fact)
    connection.execute("COMMIT")
    return missing[0].name if missing else None


def _facts(connection: sqlite3.Connection) -> dict[str, str]:
    if not statement("has_schema").all(connection):
        return {}
    return dict(statement("read_meta").all(connection))


def _refuse_other_number(facts: dict[str, str], path: Path, shards: int) -> None:
    installed = int(facts.get("shards", shards))
    if installed != shards:
        raise ValueError(
            f"{path} was installed with {installed} shards and cannot change to {shards}: "
            "set the old number, or install into a new file"
        )


def _statements(script: str) -> list[str]:
    found, text = [], ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            found.append(text)
            text = ""
    return found
