"""Executing something in a process of its own, because it may end the process that it is executed in.

Laws of this port:
- The process is fresh, does this one thing, and is gone when `run` has ended, however that ends.
- It does not outlive the process that asked, and an order to stop that is given to both is not its to hear.
"""

from typing import Protocol


class Died(Exception):
    """The process ended in the middle of its work; the text says how: the signal, or the exit code."""


class NotStarted(Exception):
    """The process did not get as far as beginning; the text says why."""


class Isolation(Protocol):
    """Processes that execute requests for this application, one for each request."""

    async def run(self, request: bytes, seconds: float) -> bytes:
        """Execute a request and give its answer; `seconds` from when the work begins.

        Raises:
            NotStarted, Died: as they say.
            TimeoutError: it took longer.
        """
