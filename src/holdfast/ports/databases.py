"""The author's own databases: where a `transaction` effect writes, together with its ledger row.

Laws of this port (its conformance suite holds every adapter to them):
- The effect's row is inserted before anything else in the effect's own transaction: its key lets one attempt at a time
  go on, and tells the next whether an earlier one was committed. It is the authority.
- What the effect wrote and its row are committed together or not at all, whoever crashes.
"""

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol


class UnknownDatabase(Exception):
    """No database of that name in the settings, or none with a ledger table: says what to set or to run."""


class CommitUnclear(Exception):
    """The commit was asked for and not answered; the next attempt finds out from the effect's row."""


class Transaction(Protocol):
    """One attempt's transaction; left without `commit`, it is rolled back."""

    @property
    def connection(self) -> Any:
        """The author's connection, in a transaction, for the effect's own statements."""

    @property
    def recorded(self) -> bytes | None:
        """The result of an earlier attempt that was committed; then there is nothing to do."""

    async def commit(self, result: bytes) -> None:
        """Record the result in the effect's row and commit both.

        Raises:
            CommitUnclear: the answer was lost.
        """


class Databases(Protocol):
    """The databases that the settings name."""

    def transaction(self, name: str, effect_id: str, request_hash: bytes) -> AbstractAsyncContextManager[Transaction]:
        """Begin a transaction in the database `name` with the row of `effect_id` inserted.

        Waits for another attempt that has the row and is not committed yet.

        Raises:
            UnknownDatabase: the operator's to mend.
            Unavailable: the database is out of reach; nothing was written.
        """

    async def install(self, name: str) -> list[str]:
        """Create the effects' table where it is missing; returns what was done. Safe to repeat."""

    async def close(self) -> None:
        """Let go of all connections."""
