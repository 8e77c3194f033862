"""Blobs: large payloads, kept under the hash of their content.

Laws of this port (its conformance suite holds every adapter to them):
- A name that was kept before is left as it is.
- Unknown names are left out of an answer.
"""

from collections.abc import Collection, Mapping
from typing import Protocol


class Blobs(Protocol):
    """Every method is one transaction, and raises `Unavailable` while the server is out of reach."""

    async def put_blobs(self, blobs: Mapping[str, bytes]) -> None:
        """Keep large payloads under their names (hash of the content); a name kept before is left as it is."""

    async def blobs(self, names: Collection[str]) -> Mapping[str, bytes]:
        """Read large payloads; unknown names are left out."""
