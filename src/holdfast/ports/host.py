"""The machine under a process: what tells whether another process of it is gone.

Laws of this port:
- `gone` speaks only of what this machine knows for certain; of a process elsewhere it knows nothing.
"""

from typing import Protocol

from holdfast.ports.ledger import ProcessRow


class Host(Protocol):
    """This machine, as far as its processes go."""

    def me(self, process: str) -> ProcessRow:
        """Describe this process under its name."""

    def gone(self, row: ProcessRow) -> str:
        """Say how it is known that a process has ended; empty if it runs, or if nobody here can tell."""
