"""The provider: whom the workflows charge, and whose book is the oracle.

Law of this file: as Stripe does it, the same idempotency key is the same charge, and gives the same receipt.
"""

from tests.simulation.wire import Wire


class Unclear(Exception):
    """The provider did not answer: it may have charged."""


class Provider:
    """The book. What was charged stays charged."""

    def __init__(self) -> None:
        self.away = False
        self.failovers = 0
        self.book: dict[str, tuple[str, str]] = {}

    def charge(self, key: str, run: str, what: str) -> str:
        self.book.setdefault(key, (run, what))
        return f"receipt for {run} {what}"

    def charges(self) -> dict[tuple[str, str], int]:
        """Count by what was bought, whatever the keys."""
        counts: dict[tuple[str, str], int] = {}
        for bought in self.book.values():
            counts[bought] = counts.get(bought, 0) + 1
        return counts


class Till:
    """One process's way to the provider."""

    def __init__(self, provider: Provider, wire: Wire) -> None:
        self._provider = provider
        self._wire = wire

    async def charge(self, key: str, run: str, what: str) -> str:
        return await self._wire.ask(self._provider, Unclear, self._provider.charge, key, run, what)
