"""The clock: what time it is, and waiting for a while. Only a port may know; the core is told."""

from typing import Protocol


class Clock(Protocol):
    """Time of the store and of this process."""

    def now(self) -> int:
        """The store's time as well as this process knows it: microseconds since the epoch; never goes backwards."""

    def monotonic(self) -> float:
        """Seconds of this process's monotonic clock."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""
