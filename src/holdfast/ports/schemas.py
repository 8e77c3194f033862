"""Writer schemas: what the records of an installation were written with, by the fingerprint in their headers.

Laws of this port (its conformance suite holds every adapter to them):
- A process registers what it writes with before it writes: so every process of the installation, older or newer, can
  find out how to read it.
- A fingerprint names one schema for ever: what is registered is never changed.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec


class WriterSchema(msgspec.Struct, frozen=True):
    """One schema: its fingerprint, the record that it is of, its text, and the release that first wrote with it."""

    fingerprint: bytes
    name: str
    text: str
    release: str


class WriterSchemas(Protocol):
    """The schemas of a namespace. Every method is one transaction, and raises `Unavailable` while the store is away."""

    async def register(self, schemas: Sequence[WriterSchema]) -> None:
        """Keep schemas; one whose fingerprint is known is left as it is."""

    async def read(self) -> Sequence[WriterSchema]:
        """Read all of them, in the order of name and fingerprint: some dozens a release."""
