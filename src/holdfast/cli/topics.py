"""`holdfast republish`, and how times are written on the command line."""

import datetime as dt
import re
from typing import TYPE_CHECKING

import click

from holdfast.cli.failures import USAGE, CommandFailed
from holdfast.cli.frame import Subcommand, connected, finish, settings_of

if TYPE_CHECKING:
    from holdfast.settings import Settings

PAGE = 1_000
LAST_WORD = 1.0  # seconds without a record: the topic's end
MICROS = 1_000_000
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@click.command(cls=Subcommand)
@click.option("--outcomes", is_flag=True, help="Publish outcomes again.")
@click.option("--events", is_flag=True, help="Publish events again.")
@click.option("--since", required=True, metavar="T", help="ISO 8601 (UTC if it says nothing else), or 10m, 2h, 1d ago.")
@click.option("--until", metavar="T", help="As --since [now].")
@click.pass_context
def republish(context: click.Context, *, outcomes: bool, events: bool, since: str, until: str | None) -> None:
    """Publish again what the store holds of a time, under the old ids.

        holdfast republish --outcomes --since 2h
        holdfast republish --events --since 2026-11-01T08:00Z --until 2026-11-01T09:00Z

    For topics that were lost or emptied. Consumers drop by ce_id what they have seen.
    """
    if outcomes == events:
        raise CommandFailed(USAGE, "republish needs one of --outcomes and --events")
    finish(_republish(settings_of(context), since, until, outcomes=outcomes))


async def _republish(settings: "Settings", since: str, until: str | None, *, outcomes: bool) -> None:
    from holdfast.app.client.republish import Republisher

    async with connected(settings) as client:
        now = client.profile.clock.now()
        begin = instant(since, now, "--since")
        end = now if until is None else instant(until, now, "--until")
        if begin >= end:
            raise CommandFailed(USAGE, f"--since {since} is not before --until {until or 'now'}")
        if client.profile.embedded:
            click.echo("nothing to do: the embedded log reads the store's own history")
            return
        republisher = Republisher(
            client.profile.store,
            client.profile.log,
            client.profile.codec,
            client.run_client.wire,
            client.profile.schemas,
        )
        number = await republisher.republish(begin, end, outcomes=outcomes)
    click.echo(f"published {number} {'outcomes' if outcomes else 'events'} again")


def instant(text: str, now: int, option: str) -> int:
    """Read a time: ISO 8601, or how long ago. Microseconds since the epoch."""
    ago = re.fullmatch(r"(\d+)([smhd])", text)
    if ago is not None:
        return now - int(ago[1]) * UNITS[ago[2]] * MICROS
    try:
        read = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandFailed(USAGE, f"{option} {text} is no time: write 2026-11-01T08:00Z, or 10m, 2h, 1d") from error
    aware = read if read.tzinfo is not None else read.replace(tzinfo=dt.UTC)
    return (aware - dt.datetime.fromtimestamp(0, dt.UTC)) // dt.timedelta(microseconds=1)
