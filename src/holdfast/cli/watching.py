"""`holdfast watch`: live progress in a terminal, plain lines when piped, JSON lines for scripts.

Laws of this file:
- Of one run, every event is told once, in order; the command ends when the run does.
- Of all runs, every change of status that is seen is told once, and two changes between two looks are one.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.asking import found, no_wait
from holdfast.cli.failures import ENDED, CommandFailed
from holdfast.cli.frame import Subcommand, connected, finish, settings_of
from holdfast.cli.looking import PAGE, as_json, event_line, json_line, run_line, told_in_a_list

if TYPE_CHECKING:
    from rich.console import RenderableType

    from holdfast.client import Client
    from holdfast.ports.journal import StoredRun
    from holdfast.settings import Settings

SHORTEST_PAUSE = 0.05
RESTRAINT = 5  # a look at all runs is followed by a pause of so many times what it took


@click.command(cls=Subcommand)
@click.argument("run", required=False)
@as_json
@no_wait
@click.pass_context
def watch(context: click.Context, run: str | None, *, as_json: bool, no_wait: bool) -> None:
    """Watch RUN until it ends, or all runs until Ctrl-C.

        holdfast watch                              # in a terminal: live
        holdfast watch order-1042 --json | jq .type

    Exit code 1 if the run ends otherwise than completed.
    """
    settings = settings_of(context)
    if run is None:
        finish(_watch_all(settings, as_json=as_json))
    else:
        finish(_watch(settings, run, as_json=as_json, no_wait=no_wait))


async def _watch(settings: "Settings", run: str, *, as_json: bool, no_wait: bool) -> None:
    from holdfast.views import describe, told, why

    is_live = sys.stdout.isatty() and not as_json
    async with connected(settings) as client:
        codec = client.profile.codec
        stored = first = await found(client, run, no_wait=no_wait)
        with _live(is_live) as draw:
            seen, incarnation = 0, first.row.incarnation
            async for stored in _states(client, first):
                if is_live:
                    from holdfast.cli.drawing import picture_of_run

                    draw(picture_of_run(stored, describe(stored, codec), codec))
                    continue
                news = list(stored.history)
                for earlier in range(stored.row.incarnation - 1, incarnation - 1, -1):
                    news = [*await client.run_client.incarnation(run, earlier), *news]
                incarnation = stored.row.incarnation
                for one in news[seen:]:
                    event = told(one, codec)
                    click.echo(json_line({"run_id": run, **event}) if as_json else _line(run, event))
                seen = len(stored.history)
        if stored.row.status != "COMPLETED":
            raise CommandFailed(ENDED, f"{run} {why(stored, codec)}")


def _line(run: str, event: dict[str, object]) -> str:
    """Write an event, and below one that waits for a person what that person can do."""
    from holdfast.views import decide_on

    data = event["data"]
    if event["type"] != "StepParked" or not isinstance(data, dict):
        return event_line(event)
    return f"{event_line(event)}\n       then: {decide_on(run, data['step_id'])}"


async def _states(client: "Client", stored: "StoredRun") -> AsyncIterator["StoredRun"]:
    """Give a run anew after each change, until it has ended."""
    mark = -1
    seen = (0, 0)
    while True:
        if (stored.row.incarnation, len(stored.history)) != seen:
            seen = (stored.row.incarnation, len(stored.history))
            yield stored
        if stored.row.ended_at is not None:
            return
        mark = await client.profile.store.changed(mark)
        stored = await client.run_client.history(stored.row.run_id) or stored


async def _watch_all(settings: "Settings", *, as_json: bool) -> None:
    is_live = sys.stdout.isatty() and not as_json
    runs: dict[str, dict[str, Any]] = {}
    recent: list[str] = []
    async with connected(settings) as client:
        with _live(is_live) as draw:
            mark = -1
            is_first = True
            while True:
                began = client.profile.clock.monotonic()
                changed = await _changed(client, runs)
                if is_first:  # what had ended before we looked is no news
                    changed = {name: run for name, run in changed.items() if run["ended_at"] is None}
                    is_first = False
                for name, run in changed.items():
                    recent = [*(one for one in recent[-PAGE:] if one != name), name]
                    if not is_live:
                        click.echo(json_line(run) if as_json else run_line(run))
                if is_live:
                    from holdfast.cli.drawing import picture_of_all

                    draw(picture_of_all(runs, recent))
                took = client.profile.clock.monotonic() - began
                await asyncio.sleep(max(SHORTEST_PAUSE, RESTRAINT * took))
                mark = await client.profile.store.changed(mark)


async def _changed(client: "Client", runs: dict[str, dict[str, Any]]) -> Mapping[str, dict[str, Any]]:
    """Look at all runs, note them in `runs`, and give those whose status is new."""
    changed: dict[str, dict[str, Any]] = {}
    after: str | None = None
    while True:
        rows = await client.profile.store.runs(limit=PAGE, after=after)
        news = [row for row in rows if runs.get(row.run_id, {}).get("status") != row.status]
        for run in await told_in_a_list(client, news):
            runs[str(run["run_id"])] = changed[str(run["run_id"])] = run
        if len(rows) < PAGE:
            return changed
        after = rows[-1].run_id


def _live(is_live: bool) -> AbstractContextManager[Callable[["RenderableType"], None]]:  # noqa: FBT001 - a yes or no
    """Draw pictures over each other in a terminal; elsewhere nobody draws."""
    if not is_live:
        return nullcontext(lambda _: None)
    from contextlib import contextmanager

    from rich.live import Live

    from holdfast.cli.drawing import console

    @contextmanager
    def live() -> Any:
        with Live(console=console(), refresh_per_second=10) as drawn:
            yield drawn.update

    return live()
