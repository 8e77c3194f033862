"""What a terminal shows of runs: tables and colours, also in motion."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from holdfast.app.records import rfc3339
from holdfast.cli.looking import json_line, moment
from holdfast.cli.plain import plain
from holdfast.core.run import ENDED
from holdfast.ports.codec import Codec
from holdfast.ports.journal import StoredRun
from holdfast.views import state_of, what_next, why

PIPED_WIDTH = 100
RESULT = 2_000
ERROR = 1_000
"""Characters that a person is shown of a value, or of an error of one step; --json has all of them."""
RECENT = 12
_COLOURS = {
    "RUNNING": "cyan",
    "SUSPENDED": "blue",
    "PARKED": "bold yellow",
    "COMPLETED": "green",
    "FAILED": "bold red",
    "CANCELLED": "magenta",
    "TERMINATED": "bold magenta",
    "SCHEDULED": "cyan",
    "RETRYING": "yellow",
    "ABANDONED": "dim",
    "STARTED": "cyan",
    "CANCELLING": "magenta",
}


def console() -> Console:
    """Give the console of stdout; a pipe is as wide as a page."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)


def coloured(state: object) -> Text:
    """Write a status or a step's state."""
    return Text(str(state), style=_COLOURS.get(str(state), ""))


def picture_of_run(stored: StoredRun, view: Mapping[str, Any], codec: Codec) -> RenderableType:
    """Draw a run: its head, why it waits or how it ended, its steps."""
    head = Text.assemble(
        (str(view["run_id"]), "bold"),
        "  ",
        coloured(view["status"]),
        plain(f"  {view['workflow']} v{view['version']}"),
    )
    facts = Table.grid(padding=(0, 2))
    facts.add_row("started", moment(view["started_at"]))
    if view["incarnation"]:
        before = f"the history before: holdfast history {view['run_id']} --incarnation {view['incarnation'] - 1}"
        facts.add_row("incarnation", folded(f"{view['incarnation']}  ({before})"))
    if view["ended_at"]:
        facts.add_row("ended", moment(view["ended_at"]))
    if view["attributes"]:
        facts.add_row("attributes", folded(", ".join(f"{name}={value}" for name, value in view["attributes"].items())))
    if view["parent"]:
        facts.add_row("parent", folded(f"{view['parent']['run_id']}, step {view['parent']['step_id']}"))
    for name, said in _says(stored, view, codec):
        facts.add_row(name, folded(said))
    tables = [steps_table(view["steps"])] if view["steps"] or not view["children"] else []
    if view["children"]:
        tables.append(children_table(view["children"]))
    return Group(head, facts, *tables)


def _says(stored: StoredRun, view: Mapping[str, Any], codec: Codec) -> list[tuple[str, str]]:
    if view["status"] == "COMPLETED":
        return [("result", _result(view))]
    if view["status"] in ENDED:
        return [("why", why(stored, codec))]
    run = state_of(stored, codec)
    then = [("then", command) for command in what_next(run)]
    if view["parked"]:
        return [("parked", view["parked"]), *then]
    waits = [("waits", f"{timer} until {moment(rfc3339(due_at))}") for timer, due_at in run.timers.items()]
    return [*waits, *then]


def _result(view: Mapping[str, Any]) -> str:
    said = json_line(view["result"]).decode()
    if len(said) <= RESULT:
        return said
    return f"{said[:RESULT]}… ({len(said)} characters; all of it: holdfast show {view['run_id']} --json)"


def folded(said: str) -> Text:
    """Write what somebody said, whatever it holds, within the width of its column."""
    return Text(plain(said), overflow="fold")


def steps_table(steps: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Draw the steps of a run in the order they were asked for."""
    if not steps:
        return Text("no steps yet", style="dim")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("step", "state", "attempts", "error"):
        table.add_column(column, justify="right" if column == "attempts" else "left", overflow="fold")
    for step in steps:
        error = step["error"]
        said = "" if error is None else f"{error['type']}: {error['message']}"
        said = said if len(said) <= ERROR else f"{said[:ERROR]}…"
        table.add_row(folded(step["id"]), coloured(step["state"]), str(step["attempts"]), folded(said))
    return table


def children_table(children: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Draw the children of a run in the order they were called."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("child", "run", "state", "error"):
        table.add_column(column, overflow="fold")
    for child in children:
        error = child["error"]
        said = "" if error is None else f"{error['type']}: {error['message']}"[:ERROR]
        table.add_row(folded(child["id"]), folded(child["run_id"]), coloured(child["state"]), folded(said))
    return table


def picture_of_all(runs: Mapping[str, Mapping[str, Any]], recent: Sequence[str]) -> RenderableType:
    """Draw how many runs there are of each status, and those that changed last."""
    counts: dict[str, int] = {}
    for run in runs.values():
        counts[run["status"]] = counts.get(run["status"], 0) + 1
    head = Text("  ").join(
        Text.assemble(coloured(status), f" {counts[status]}") for status in _COLOURS if status in counts
    )
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("run", "status", "workflow", "started", ""):
        table.add_column(column, no_wrap=True)
    for run_id in recent[-RECENT:]:
        run = runs[run_id]
        table.add_row(
            Text(run_id),
            coloured(run["status"]),
            Text(plain(run["workflow"])),
            moment(run["started_at"]),
            Text(plain(run["parked"] or "")),
        )
    return Group(head if counts else Text("no runs yet", style="dim"), table)
