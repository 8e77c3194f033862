"""The databases that the settings name, each with the adapter that its URL asks for.

Laws of this file:
- Nothing is connected, and no client library loaded, before a database is first used.
- A database whose client library is not installed is refused when it is named, not in the middle of an effect.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from holdfast.extras import require
from holdfast.ports.databases import Transaction, UnknownDatabase
from holdfast.ports.unavailable import Unavailable

SQLITE = "sqlite:///"


class Target(Protocol):
    """One database; as `ports.databases.Databases` without a name."""

    def transaction(self, effect_id: str, request_hash: bytes) -> AbstractAsyncContextManager[Transaction]: ...

    async def pending(self) -> list[str]: ...

    async def install(self) -> list[str]: ...

    async def close(self) -> None: ...


class NamedDatabases:
    """Fulfils `ports.databases.Databases` for URLs by name.

    Raises:
        MissingExtra: one of the URLs needs a package that is not installed.
    """

    def __init__(self, urls: Mapping[str, str]) -> None:
        for name, url in urls.items():
            if not url.startswith(SQLITE):
                require("psycopg", f"database {name} (postgresql://…)")
        self._urls = urls
        self._targets: dict[str, Target] = {}
        self._closed = False

    def transaction(self, name: str, effect_id: str, request_hash: bytes) -> AbstractAsyncContextManager[Transaction]:
        return self._target(name).transaction(effect_id, request_hash)

    async def pending(self, name: str) -> list[str]:
        return await self._target(name).pending()

    async def install(self, name: str) -> list[str]:
        return await self._target(name).install()

    async def close(self) -> None:
        self._closed = True
        for target in self._targets.values():
            await target.close()

    def _target(self, name: str) -> Target:
        if self._closed:
            raise Unavailable(f"database {name}: this process lets go of its databases")
        if name not in self._targets:
            self._targets[name] = _target(name, self._url(name))
        return self._targets[name]

    def _url(self, name: str) -> str:
        if name not in self._urls:
            known = ", ".join(sorted(self._urls)) or "none"
            raise UnknownDatabase(
                f"the settings name no database {name!r} (they name: {known}): set "
                f'HOLDFAST_DATABASES_{name.upper()}=postgresql://…, or [databases] {name} = "…" in holdfast.toml'
            )
        return self._urls[name]


def _target(name: str, url: str) -> Target:
    if url.startswith(SQLITE):
        from holdfast.adapters.databases.sqlite import SqliteTarget

        return SqliteTarget(name, url.removeprefix(SQLITE))
    from holdfast.adapters.databases.postgres import PostgresTarget

    return PostgresTarget(name, url)
