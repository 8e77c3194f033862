"""The machines of a simulated world: each knows for certain which of its own processes have ended."""

from collections.abc import Mapping

from holdfast.ports.ledger import ProcessRow
from tests.simulation.loop import Life


class SimulatedHost:
    """Fulfils `ports.host.Host`: one machine; `lives` are the processes of all machines."""

    def __init__(self, name: str, lives: Mapping[str, Life]) -> None:
        self._name = name
        self._lives = lives

    def me(self, process: str) -> ProcessRow:
        return ProcessRow(process=process, host=self._name, pid=len(self._lives), started=process)

    def gone(self, row: ProcessRow) -> str:
        if row.gone:
            return row.gone
        life = self._lives.get(row.process)
        if row.host != self._name or life is None or life.alive:
            return ""
        return f"its machine says that process {row.pid} has ended"
