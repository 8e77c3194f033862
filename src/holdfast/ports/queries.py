"""The queries: what people and clients read of runs, in pages.

Laws of this port (its conformance suite holds every adapter to them):
- Every method is one transaction, and writes nothing.
- A list is in the order of its key, and goes on after the last key of the page before.
"""

from collections.abc import Sequence
from typing import Protocol

from holdfast.ports.journal import KnownRuns, RunRow, Span, StoredEvent, StoredRun


class Queries(KnownRuns, Protocol):
    """Every method is one transaction, and raises `Unavailable` while the server is out of reach."""

    async def runs(
        self, *, status: str | None = None, workflow: str | None = None, limit: int = 100, after: str | None = None
    ) -> Sequence[RunRow]:
        """List runs by run id, from `after` (exclusive) on; SUSPENDED is a running run without an open attempt."""

    async def history(self, run_id: str) -> StoredRun | None:
        """Read one run whole."""

    async def history_between(
        self, since: int, until: int, *, outcomes_only: bool, after: Span | None, limit: int
    ) -> Sequence[StoredEvent]:
        """Read stored events whose `at` is in [since, until), in the order (run_id, incarnation, seq), for `republish`.

        `after` is a span whose `last` is the last event already read.
        """

    async def changed(self, since: int) -> int:
        """Wait until somebody has committed after the mark `since`, at most 2 s; return the new mark.

        Embedded, from any process: within 50 ms through the same file. Stores that cannot tell return after a pause.
        """
