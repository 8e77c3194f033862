"""The installation: its schema and its facts.

Laws of this port (its conformance suite holds every adapter to them):
- Installing is safe to repeat, and safe to do twice at once.
- The number of shards and the installation's id are set once.
- Times are integer microseconds since the epoch, by the store's own clock.
"""

from collections.abc import Mapping
from typing import Protocol


class NewerSchema(Exception):
    """The store was installed by a newer version of Holdfast, and is not safe for this one; upgrade this process."""


class NotInstalled(Exception):
    """The store has no schema of this namespace; run `holdfast install`."""


class Installation(Protocol):
    """The schema of one namespace.

    Every method is one transaction, and raises `Unavailable` while the server is out of reach.
    """

    async def open(self) -> None:
        """Connect and check the schema.

        Raises:
            NotInstalled: no schema of this namespace.
            NewerSchema: written by a newer version.
        """

    async def close(self) -> None:
        """Let go of connections and files; in-flight calls end first."""

    async def install(self, shards: int) -> list[str]:
        """Create or migrate the schema under an advisory lock, with `shards` shard rows; returns what was done.

        Safe to repeat and to run twice at once. A number of shards that differs from the installed one raises
        `ValueError` that names both. The installation draws an id for itself, once.
        """

    async def pending_migrations(self) -> list[str]:
        """Name the migrations that `install` would apply; all of them if nothing is installed."""

    async def meta(self) -> Mapping[str, str]:
        """Read the installation's facts: `shards`, `schema`, its id `installation`, and what `set_meta` wrote.

        `safe_from` is the oldest schema whose processes may go on with this one.
        """

    async def set_meta(self, facts: Mapping[str, str]) -> None:
        """Write facts of the installation (cluster id, topic ids, generation)."""

    async def now(self) -> int:
        """Read the store's clock: microseconds since the epoch."""
