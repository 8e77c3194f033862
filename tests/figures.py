"""The figures of the proof, said at the end of a test run: what was checked, and what was found.

Law of this file: only reports that this very run wrote are told.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

REPORTS = Path(__file__).parents[1] / "build" / "report"
Report = Mapping[str, Any]


def simulation(report: Report) -> str:
    return f"{report['seeds']:,} seeds, {report['faults']:,} faults injected, {violations(report)} violations"


def planted(report: Report) -> str:
    return f"{report['caught']} of {report['planted']} planted bugs caught"


def chaos(report: Report) -> str:
    return (
        f"{report['runs']:,} runs, {report['faults']} faults of {len(report['kinds'])} kinds: "
        f"{report['double']} double, {report['lost']} lost, {report['stuck']} stuck"
    )


def power(report: Report) -> str:
    return (
        f"{report['cuts']} cuts, {report['acknowledged']:,} acknowledged facts, {report['lost']} lost "
        f"({report['control_lost']:,} where nothing was synced)"
    )


def model(report: Report) -> str:
    states, mutants = sum(report["models"].values()), report["mutants"]
    caught = sum(bool(trace) for trace in mutants.values())
    return (
        f"{states:,} states of {len(report['models'])} models, {violations(report)} violations; {caught} mutants caught"
    )


def violations(report: Report) -> int:
    found = report["violations"]
    return found if isinstance(found, int) else len(found)


TOLD: Mapping[str, Callable[[Report], str]] = {
    "ledger-model": model,
    "simulation": simulation,
    "planted": planted,
    "power": power,
    "chaos": chaos,
}


class Figures:
    """Tells the reports that were written since it was made."""

    def __init__(self) -> None:
        self._since = time.time()

    def lines(self) -> Iterator[str]:
        for name, tell in TOLD.items():
            path = REPORTS / f"{name}.json"
            if path.is_file() and path.stat().st_mtime >= self._since:
                report = json.loads(path.read_text())
                if TELLING[name] <= report.keys():
                    yield f"{name}: {tell(report)}"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        lines = list(self.lines())
        if lines:
            terminalreporter.section("figures")
            for line in lines:
                terminalreporter.write_line(line)


TELLING: Mapping[str, frozenset[str]] = {
    "ledger-model": frozenset({"models", "mutants", "violations"}),
    "simulation": frozenset({"seeds", "faults", "violations"}),
    "planted": frozenset({"planted", "caught"}),
    "power": frozenset({"cuts", "acknowledged", "lost", "control_lost"}),
    "chaos": frozenset({"runs", "faults", "kinds", "double", "lost", "stuck"}),
}
"""What a report must hold to be told: one of a part of the tests may not."""
