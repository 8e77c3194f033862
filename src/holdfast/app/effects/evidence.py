"""Whether a process that sent something can still send.

What each piece is worth (docs/guarantees.md): a process that said goodbye has waited for what it ran; its own machine
knows for certain; an operator's word is worth what the operator knows. Silence is worth nothing.
"""

import logging

from holdfast.ports.host import Host
from holdfast.ports.ledger import Ledger
from holdfast.ports.unavailable import Unavailable

log = logging.getLogger(__name__)


class Evidence:
    """Finds out about the end of processes; empty where nobody can tell."""

    def __init__(self, ledger: Ledger, host: Host) -> None:
        self._ledger = ledger
        self._host = host

    async def of(self, process: str) -> str:
        """Say how it is known that `process` has ended; what this machine knows is written down for the others."""
        if not process:
            return ""
        try:
            row = (await self._ledger.processes([process])).get(process)
            if row is None or row.gone:
                return "" if row is None else row.gone
            gone = self._host.gone(row)
            if gone:
                await self._ledger.deregister(process, gone)
        except Unavailable as away:
            log.info("cannot find out whether process %s is alive: %s", process, away)
            return ""
        return gone
