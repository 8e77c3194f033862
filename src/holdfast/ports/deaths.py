"""Deaths: which processes ended while they had a run's turn, or an attempt of a step, in hand.

Laws of this port (its conformance suite holds every adapter to them):
- A process dies once: a death that is reported again, by whomever, changes nothing.
- It is evidence and no verdict: nothing of a run is decided here, and forgetting a death loses nothing but caution.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Death(msgspec.Struct, frozen=True, kw_only=True):
    """A process that ended without a word, and what it had in hand.

    Of a turn `step_id` is empty, and `seq` is the number of the run's events before it; of an attempt, `attempt` is its
    number. `reason` and `detail` are the process's own, if it knew that it had to end itself. `at` is the store's time
    of the report, in microseconds.
    """

    run_id: str
    incarnation: int
    step_id: str
    process: str
    shard: int = 0
    seq: int = 0
    attempt: int = 0
    reason: str = ""
    detail: str = ""
    at: int = 0

    @property
    def is_turn(self) -> bool:
        return not self.step_id

    @property
    def place(self) -> tuple[str, int, str, str]:
        """What tells it from every other one, and the order of pages."""
        return (self.run_id, self.incarnation, self.step_id, self.process)


class Deaths(Protocol):
    """The deaths of a namespace. Every method is one transaction, and raises `Unavailable` while the store is away."""

    async def report(self, deaths: Sequence[Death]) -> None:
        """Record deaths, with the store's time; one that is recorded is left as it is."""

    async def read(self, limit: int, after: Death | None = None) -> Sequence[Death]:
        """Read deaths in the order of `place`, from `after` (exclusive) on. Usually there are none."""

    async def forget(self, deaths: Sequence[Death]) -> None:
        """Delete these, by their places: their turn is over, their step is settled, or their run has ended."""
