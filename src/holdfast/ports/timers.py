"""The timers: what becomes due by time, read in pages by the owner of the shards.

Laws of this port (its conformance suite holds every adapter to them):
- Every method is one transaction, and a page is never longer than its limit.
- A scan goes on after the last row of the page before. What is not written meanwhile, it reads once.
- Timers and attempts are written by the journal's `commit` alone (`ports/journal.py`).
"""

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec


class AttemptRow(msgspec.Struct, frozen=True):
    """An attempt that was sent and is not settled; `sent_to` is the process it was handed to, None by the log."""

    run_id: str
    incarnation: int
    step_id: str
    attempt: int
    shard: int
    sent_to: str | None
    resend_at: int
    resends: int = 0


class AttemptPage(msgspec.Struct, frozen=True):
    """Some of the attempts that a scan looks at; `after` is where its next page begins, None if this was the last.

    `after` is in the words of the store that gave it. A page may be empty and not the last: looking is bounded.
    """

    rows: tuple[AttemptRow, ...]
    after: object = None


class TimerRow(msgspec.Struct, frozen=True):
    """A durable wait. `timer_id` of a retry's wait is the step id and attempt, see `app`."""

    run_id: str
    incarnation: int
    timer_id: str
    shard: int
    due_at: int


class Timers(Protocol):
    """The scans. Every method is one transaction, and raises `Unavailable` while the server is out of reach."""

    async def due_timers(
        self, shards: Collection[int], until: int, limit: int, after: TimerRow | None = None
    ) -> Sequence[TimerRow]:
        """Read timers due up to `until`, in the order (due_at, timer_id, run_id, incarnation), from `after` on."""

    async def open_attempts(self, shards: Collection[int], until: int, limit: int, after: object = None) -> AttemptPage:
        """Read a page of the attempts to be sent again up to `until`: at most `limit`, from `after` on.

        What is there from the first page of a scan to its last, and is not written meanwhile, is read once.
        """
