"""The commands that look at runs: show, list, history.

Law: with --json, stdout is JSON and nothing else, in the fields that docs and scripts rely on.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from holdfast.cli.asking import found, no_wait
from holdfast.cli.frame import Subcommand, connected, finish, settings_of
from holdfast.cli.plain import plain

if TYPE_CHECKING:
    from holdfast.client import Client
    from holdfast.ports.journal import RunRow
    from holdfast.settings import Settings

STATUSES = ("RUNNING", "SUSPENDED", "PARKED", "COMPLETED", "FAILED", "CANCELLED", "TERMINATED")
PAGE = 500

as_json = click.option("--json", "as_json", is_flag=True, help="For scripts.")


@click.command(cls=Subcommand)
@click.argument("run")
@as_json
@no_wait
@click.pass_context
def show(context: click.Context, run: str, *, as_json: bool, no_wait: bool) -> None:
    """Show RUN: its status, steps, result, and why it waits.

    holdfast show order-1042
    holdfast show order-1042 --json | jq .status
    """
    finish(_show(settings_of(context), run, as_json=as_json, no_wait=no_wait))


async def _show(settings: "Settings", run: str, *, as_json: bool, no_wait: bool) -> None:
    from holdfast.ports.codec import Newer, UnknownSchema
    from holdfast.views import describe, large_result, listed

    async with connected(settings) as client:
        stored = await found(client, run, no_wait=no_wait)
        kept = await client.profile.deferred.read(stored.row.shard, run, 1)
        waits = f"{kept[0].reason} (what comes in meanwhile is kept)" if kept else None
        try:
            blob = large_result(stored, client.profile.codec)
            blobs = {} if blob is None else await client.profile.store.blobs([blob])
            view = describe(stored, client.profile.codec, blobs)
        except (Newer, UnknownSchema) as newer:  # its row tells something all the same
            view, waits = listed(stored.row), waits or str(newer)
        view["waiting"] = waits
        if as_json:
            click.echo(json_line(view))
            return
        from holdfast.cli.drawing import console, picture_of_run

        if "steps" in view:
            console().print(picture_of_run(stored, view, client.profile.codec))
        else:
            click.echo(plain(f"{run}  {stored.row.workflow}  {stored.row.status}"))
        if waits is not None:
            click.echo(plain(f"{run} waits for a newer release: {waits}"))


@click.command(name="list", cls=Subcommand)
@click.option("--status", type=click.Choice(STATUSES, case_sensitive=False), help="Only runs of this status.")
@click.option("--workflow", metavar="W", help="Only runs of this workflow.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Stop after N runs [all; 100 in a terminal].")
@as_json
@click.pass_context
def list_runs(
    context: click.Context, status: str | None, workflow: str | None, limit: int | None, *, as_json: bool
) -> None:
    """List runs, by run id.

    holdfast list --status PARKED
    holdfast list --workflow prescription_order --json
    """
    finish(_list(settings_of(context), status, workflow, limit, as_json=as_json))


async def _list(
    settings: "Settings", status: str | None, workflow: str | None, limit: int | None, *, as_json: bool
) -> None:
    most = limit or (100 if sys.stdout.isatty() and not as_json else sys.maxsize)
    shown = 0
    after: str | None = None
    async with connected(settings) as client:
        while shown < most:
            wanted = min(PAGE, most - shown)
            rows = await client.profile.store.runs(status=status, workflow=workflow, limit=wanted, after=after)
            for run in await told_in_a_list(client, rows):
                click.echo(json_line(run) if as_json else run_line(run))
            shown += len(rows)
            if len(rows) < wanted:
                return
            after = rows[-1].run_id
    if limit is None:
        click.echo(f"the first {most}; more with --limit N", err=True)


@click.command(cls=Subcommand)
@click.argument("run")
@click.option("--incarnation", type=click.IntRange(0), metavar="N", help="An earlier one [the present one].")
@as_json
@no_wait
@click.pass_context
def history(context: click.Context, run: str, incarnation: int | None, *, as_json: bool, no_wait: bool) -> None:
    """Print all events of RUN, in order.

    holdfast history order-1042
    holdfast history order-1042 --json | jq '.[].type'
    holdfast history account-7 --incarnation 0      # of a run that went on as new
    """
    finish(_history(settings_of(context), run, incarnation, as_json=as_json, no_wait=no_wait))


async def _history(settings: "Settings", run: str, incarnation: int | None, *, as_json: bool, no_wait: bool) -> None:
    from holdfast.cli.failures import MISSING, CommandFailed
    from holdfast.views import told

    async with connected(settings) as client:
        stored = await found(client, run, no_wait=no_wait)
        history = stored.history
        if incarnation is not None:
            history = await client.run_client.incarnation(run, incarnation)
            if not history:
                last = stored.row.incarnation
                raise CommandFailed(MISSING, f"run {run} has no incarnation {incarnation}: the last one is {last}", run)
        events = [told(one, client.profile.codec) for one in history]
    if as_json:
        click.echo(json_line(events))
        return
    for event in events:
        click.echo(event_line(event))


def json_line(value: object) -> bytes:
    """Write a value as one line of JSON."""
    import msgspec

    return msgspec.json.encode(value)


def run_line(run: dict[str, object]) -> str:
    """Write a run as a line for people."""
    parked = f"  {run['parked']}{_then(run)}" if run["parked"] else ""
    line = f"{run['run_id']:<28}  {run['status']:<10}  {run['workflow']:<24}  {moment(run['started_at'])}{parked}"
    return plain(line)


def _then(run: dict[str, object]) -> str:
    from holdfast.core.run import EFFECT_PARKED

    return f"; holdfast effects {run['run_id']}" if str(run["parked"]).startswith(EFFECT_PARKED) else ""


async def told_in_a_list(client: "Client", rows: Sequence["RunRow"]) -> list[dict[str, object]]:
    """Tell of runs in a list; of one that stands by effects, by which."""
    from holdfast.core.effects import PARKED
    from holdfast.core.run import EFFECT_PARKED
    from holdfast.views import listed

    told: list[dict[str, object]] = []
    for row in rows:
        stories = await client.effects(row.run_id) if row.parked == EFFECT_PARKED else ()
        told.append(listed(row, [story.effect.step_id for story in stories if story.effect.state == PARKED]))
    return told


def event_line(event: dict[str, object]) -> str:
    """Write an event as a line for people: what it is about, without the author's values."""
    data = event["data"]
    about = ""
    if isinstance(data, dict):
        named = (data.get(name) for name in ("step_id", "timer_id", "workflow", "name", "reason", "by"))
        about = "  ".join(str(one) for one in named if one)
        if data.get("attempt"):
            about += f"  attempt {data['attempt']}"
        if data.get("due_at"):
            about += f"  due {moment(data['due_at'])}"
        error = data.get("error")
        if isinstance(error, dict):
            about += f"  {error['type']}: {' '.join(str(error['message']).split())}"
        if data.get("detail"):
            about += f"  {' '.join(str(data['detail']).split())}"
    return plain(f"{event['seq']:>5}  {moment(event['at'])}  {event['type']:<16}  {about}".rstrip())


def moment(at: object) -> str:
    """Shorten an ISO time to milliseconds: 2026-11-23T21:01:50.123Z."""
    text = str(at).removesuffix("+00:00")
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction[:3]:0<3}Z"
