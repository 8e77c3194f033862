"""Installing and checking the schema of one namespace.

Laws of this file:
- One installation of a namespace at a time, under an advisory lock; each migration is one transaction.
- A schema of a newer version is not touched, unless it says that it is safe for this one.
"""

import re
from functools import cache
from pathlib import Path
from uuid import uuid4

from psycopg import sql

from holdfast.adapters.migrations import Migration, facts_after, migrations, pending
from holdfast.adapters.postgres.arrays import texts
from holdfast.adapters.postgres.connections import Connection
from holdfast.adapters.postgres.statements import statement
from holdfast.core.identity import digest
from holdfast.ports.installation import NotInstalled

OWN_FACTS = {"schema", "safe_from", "shards", "installation"}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,62}")


@cache
def known() -> tuple[Migration, ...]:
    """Read this adapter's migrations."""
    return migrations(Path(__file__).parent / "migrations")


def names() -> list[str]:
    """Name all migrations."""
    return [migration.name for migration in known()]


def checked(namespace: str) -> str:
    """Refuse what cannot be the name of a schema."""
    if not _NAME.fullmatch(namespace) or namespace.startswith("pg_"):
        raise ValueError(
            f"{namespace!r} cannot be a namespace: 1 to 63 letters, digits, '.', '_' and '-', beginning with a letter, "
            "and not with 'pg_'"
        )
    return namespace


async def check(connection: Connection, where: str) -> None:
    """See that the schema is exactly the one that this version needs."""
    missing = await pending_names(connection, where)
    if len(missing) == len(known()):
        raise NotInstalled(f"{where} holds no installation: run holdfast install")
    if missing:
        raise NotInstalled(f"{where} has an older schema, {', '.join(missing)} is missing: run holdfast install")


async def pending_names(connection: Connection, where: str) -> list[str]:
    """Name what `install` would apply."""
    return [migration.name for migration in await _pending(connection, where)]


async def install(connection: Connection, namespace: str, where: str, shards: int) -> list[str]:
    """Migrate to the present schema and make the shard rows; tells what was done. The lock goes with the connection."""
    await connection.run(statement("lock_installation"), {"key": _key(namespace)})
    _refuse_other_number(await facts(connection), where, shards)
    if not await connection.run(statement("find_schema"), {"namespace": namespace}):
        await connection.link.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(namespace)))
    done = []
    for migration in await _pending(connection, where):
        async with connection.link.transaction():
            await connection.link.execute(migration.sql.encode())
            await write_facts(connection, facts_after(migration, known()))
        done.append(migration.name)
    if "shards" not in await facts(connection):
        async with connection.link.transaction():
            await connection.run(statement("make_shards"), {"shards": shards})
            await write_facts(connection, {"shards": str(shards)})
        done.append(f"{shards} shards")
    if "installation" not in await facts(connection):
        await write_facts(connection, {"installation": uuid4().hex})
    return done


async def facts(connection: Connection) -> dict[str, str]:
    """Read what is known of the installation; nothing of one that is not there."""
    if not await connection.run(statement("find_tables")):
        return {}
    return dict(await connection.run(statement("read_meta")))


async def write_facts(connection: Connection, values: dict[str, str]) -> None:
    """Write facts of the installation."""
    await connection.run(statement("set_meta"), {"keys": texts(values), "values": texts(values.values())})


async def _pending(connection: Connection, where: str) -> tuple[Migration, ...]:
    return pending(known(), await facts(connection), where)


def _refuse_other_number(found: dict[str, str], where: str, shards: int) -> None:
    installed = int(found.get("shards", shards))
    if installed != shards:
        raise ValueError(
            f"{where} was installed with {installed} shards and cannot change to {shards}: "
            "set the old number, or install into a new namespace"
        )


def _key(namespace: str) -> int:
    return int.from_bytes(digest(b"holdfast installation", namespace.encode())[:8], "big", signed=True)
