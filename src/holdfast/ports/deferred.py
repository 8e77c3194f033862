"""Deferred inputs: what came in for runs that the owner of their shard cannot read, kept for a newer process.

Laws of this port (its conformance suite holds every adapter to them):
- What is kept has an order, that in which it came; it stays until it is forgotten.
- The same input kept again, by its identity, is one.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec


class DeferredInput(msgspec.Struct, frozen=True):
    """One input: `data` is in the words of who keeps it, `reason` says why, `release` who can read it ("" unknown).

    `place` orders the inputs, and `at` is the store's time; both are the store's to give.
    """

    shard: int
    run_id: str
    identity: str
    data: bytes
    reason: str
    release: str
    place: int = 0
    at: int = 0


class WaitingRun(msgspec.Struct, frozen=True):
    """A run of which inputs are kept: how many, and why since when."""

    shard: int
    run_id: str
    inputs: int
    reason: str
    release: str
    since: int


class DeferredInputs(Protocol):
    """The inputs kept of a namespace. Every method is one transaction, and raises `Unavailable` while away."""

    async def keep(self, inputs: Sequence[DeferredInput]) -> None:
        """Keep inputs in this order; one that is kept already is left as it is."""

    async def waiting(self, limit: int, *, shards: Collection[int] | None = None) -> Sequence[WaitingRun]:
        """Tell of which runs inputs are kept, of these shards or of all, those that wait longest first."""

    async def read(self, shard: int, run_id: str, limit: int) -> Sequence[DeferredInput]:
        """Read the first inputs of a run, in order."""

    async def forget(self, places: Collection[int]) -> None:
        """Remove inputs that have had their effect."""
