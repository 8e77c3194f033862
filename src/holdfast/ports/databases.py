"""The author's own databases: where a `transaction` effect writes, together with its ledger row.

Laws of this port (its conformance suite holds every adapter to them):
- The effect's row is inserted before anything else in the effect's own transaction: its key lets one attempt at a time
  go on, and tells the next whether an earlier one was committed. It is the authority.
- What the effect wrote and its row are committed together or not at all, whoever crashes.
- The transaction is Holdfast's to end: what an author commits or rolls back by himself is refused, or noticed.
"""

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol


class UnknownDatabase(Exception):
    """No database of that name in the settings, or none with a ledger table that may be written: says what to do."""


class CommitUnclear(Exception):
    """The commit was asked for and not answered; the next attempt finds out from the effect's row."""


class TransactionEnded(Exception):
    """The effect's own code ended or spoilt its transaction: the author's to mend. Nothing is recorded."""


class RequestDiffers(Exception):
    """The effect's row was committed for another request under the same id: nothing is done again, nor believed."""


class Transaction(Protocol):
    """One attempt's transaction; left without `commit`, it is rolled back."""

    @property
    def connection(self) -> Any:
        """The author's connection, in a transaction, for the effect's own statements; of no use afterwards."""

    @property
    def recorded(self) -> bytes | None:
        """The result of an earlier attempt that was committed; then there is nothing to do."""

    async def commit(self, result: bytes) -> None:
        """Record the result in the effect's row and commit both.

        Whatever else it raises, nothing was committed.

        Raises:
            CommitUnclear: the answer was lost.
            TransactionEnded: there was nothing left to commit.
            asyncio.CancelledError: as unclear as a lost answer.
        """


class Databases(Protocol):
    """The databases that the settings name."""

    def transaction(self, name: str, effect_id: str, request_hash: bytes) -> AbstractAsyncContextManager[Transaction]:
        """Begin a transaction in the database `name` with the row of `effect_id` inserted.

        Waits for another attempt that has the row and is not committed yet, for as long as that takes.

        Raises:
            UnknownDatabase: the operator's to mend.
            RequestDiffers: the row is there, of another request.
            Unavailable: the database is out of reach; nothing was written.
        """

    async def pending(self, name: str) -> list[str]:
        """Tell what `install` would do; nothing if all is there. Raises as `transaction` does."""

    async def install(self, name: str) -> list[str]:
        """Create the effects' table where it is missing; returns what was done. Safe to repeat and to do twice at once.

        Raises as `transaction` does.
        """

    async def close(self) -> None:
        """Let go of all connections; what runs in a transaction ends by itself."""
