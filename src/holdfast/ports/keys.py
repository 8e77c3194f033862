"""Keys: a fast memory for recent claims and results. It may vanish at any instant, and only latency may notice.

Laws of this port (its conformance suite holds every adapter to them):
- It never raises because the server is away: a claim is then granted, a result not found.
- Everything expires.
- Nothing is known of another installation: one that was dropped and made anew begins without claims and results.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec


class Claimed(msgspec.Struct, frozen=True):
    """The key is ours now (or nobody can tell)."""


class Held(msgspec.Struct, frozen=True):
    """Somebody else works on it."""

    owner: str


class Known(msgspec.Struct, frozen=True):
    """Its result is known."""

    result: bytes


class Keys(Protocol):
    """A cache of what is being done and what was done."""

    async def open(self, installation: str) -> None:
        """Connect for this installation, by its id; an absent server is not an error."""

    async def close(self) -> None:
        """Disconnect."""

    async def claim(self, keys: Sequence[str], owner: str, ttl: float) -> Sequence[Claimed | Held | Known]:
        """Claim `keys` for `owner` for `ttl` seconds, one answer a key, in one round trip.

        A claim that is our own already is `Claimed` again.
        """

    async def remember(self, results: Mapping[str, bytes], ttl: float) -> None:
        """Keep results for `ttl` seconds; ends the claims on their keys."""

    async def release(self, keys: Sequence[str], owner: str) -> None:
        """Give claims back, if they are still the owner's."""

    async def ping(self) -> bool:
        """Tell whether the server answers."""
