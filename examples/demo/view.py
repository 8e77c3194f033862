"""What the audience sees: live in a terminal, plain lines when piped, a table at the end, a report for machines."""

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from examples.demo.orders import Customers, Tally
from examples.demo.processes import ROOT

RECENT = 8
REPORTS = ROOT / "build" / "report"


class View:
    """The stage as it is now, and what happened last."""

    def __init__(self, title: str, customers: Customers) -> None:
        self.kills = 0
        self._title = title
        self._orders = len(customers.orders)
        self._customers = customers
        self._since = time.monotonic()
        self._happened: list[str] = []
        self._console = Console(highlight=False)
        self._live = Live(get_renderable=self._picture, console=self._console, transient=True, refresh_per_second=8)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._since

    def tell(self, what: str) -> None:
        """Say what happens."""
        line = f"{self.seconds:5.1f} s  {what}"
        self._happened.append(line)
        if not self._console.is_terminal:
            counted = ", ".join(f"{number} {name}" for name, number in self._customers.count().items())
            self._console.print(f"{line}  [{counted}]", markup=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._console.print(self._title, markup=False, soft_wrap=True)
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def end(self, tally: Tally, wanted_kills: int) -> None:
        """Show the result."""
        table = Table(title=f"after {self.kills} kills in {self.seconds:.0f} s", title_justify="left")
        table.add_column("")
        table.add_column("wanted", justify="right")
        table.add_column("is", justify="right")
        rows = (
            ("orders", self._orders, tally.orders),
            ("outcomes", self._orders, tally.outcomes),
            ("charges in the provider's own book", self._orders, tally.charges),
            ("charged twice", 0, tally.charged_twice),
            ("lost", 0, tally.lost),
        )
        for name, wanted, found in rows:
            table.add_row(name, str(wanted), Text(str(found), style="green" if wanted == found else "bold red"))
        enough = self.kills >= wanted_kills
        table.add_row("kill -9", f"≥ {wanted_kills}", Text(str(self.kills), style="green" if enough else "bold red"))
        self._console.print(table)

    def _picture(self) -> Group:
        grid = Table.grid(padding=(0, 2))
        for name, number in self._customers.count().items():
            bar = ProgressBar(total=self._orders, completed=number, width=40)
            grid.add_row(name, Text(str(number), justify="right"), bar)
        grid.add_row("kill -9", Text(str(self.kills), justify="right"))
        return Group(grid, Text("\n".join(["", *self._happened[-RECENT:]]), style="dim"))


def write_report(name: str, report: dict[str, Any]) -> Path:
    """Keep the figures."""
    path = REPORTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return path
