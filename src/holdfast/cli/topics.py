"""The commands about topics: republish, dlq list.

Law: what is published again is made by the same functions from the same history, and bears the ids it had.
"""

import datetime as dt
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from holdfast.cli.failures import USAGE, CommandFailed
from holdfast.cli.frame import Subcommand, Subgroup, connected, finish, settings_of
from holdfast.cli.looking import as_json, json_line

if TYPE_CHECKING:
    from holdfast.client import Client
    from holdfast.ports.journal import StoredEvent
    from holdfast.ports.log import Record
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
    async with connected(settings) as client:
        now = client.profile.clock.now()
        begin = instant(since, now, "--since")
        end = now if until is None else instant(until, now, "--until")
        if begin >= end:
            raise CommandFailed(USAGE, f"--since {since} is not before --until {until or 'now'}")
        if client.profile.embedded:
            click.echo("nothing to do: the embedded log reads the store's own history")
            return
        number = await _publish_all(client, begin, end, outcomes=outcomes)
    click.echo(f"published {number} {'outcomes' if outcomes else 'events'} again")


async def _publish_all(client: "Client", begin: int, end: int, *, outcomes: bool) -> int:
    from holdfast.ports.journal import Span

    store = client.profile.store
    after: Span | None = None
    number = 0
    while True:
        page = await store.history_between(begin, end, outcomes_only=outcomes, after=after, limit=PAGE)
        if not page:
            return number
        number += await _publish(client, page, outcomes=outcomes)
        last = page[-1]
        after = Span(last.run_id, last.incarnation, last.seq, last.seq)


async def _publish(client: "Client", page: Sequence["StoredEvent"], *, outcomes: bool) -> int:
    """Publish one page; a run's events of a page are one stretch of its history."""
    from holdfast.app.orchestrator.recovery import Recovery
    from holdfast.ports.journal import Span

    run_client = client.run_client
    topic = run_client.topics.outcomes if outcomes else run_client.topics.events
    recovery = Recovery(client.profile.store, client.profile.codec, run_client.wire, client.profile.schemas)
    stretches: dict[tuple[str, int], list[int]] = {}
    for one in page:
        stretches.setdefault((one.run_id, one.incarnation), []).append(one.seq)
    stored = await recovery.load({run_id for run_id, _ in stretches})
    records = [
        record
        for (run_id, incarnation), seqs in stretches.items()
        if run_id in stored
        for record in recovery.records(stored[run_id], Span(run_id, incarnation, min(seqs), max(seqs)))
        if record.topic == topic
    ]
    await client.profile.log.publish(records)
    return len(records)


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


@click.group(cls=Subgroup)
def dlq() -> None:
    """Dead letters: messages that could not be handled, kept whole."""


@dlq.command(name="list", cls=Subcommand)
@as_json
@click.pass_context
def list_letters(context: click.Context, *, as_json: bool) -> None:
    """List the dead letters, the oldest first.

    holdfast dlq list
    holdfast dlq list --json | jq .error_class
    """
    finish(_letters(settings_of(context), as_json=as_json))


async def _letters(settings: "Settings", *, as_json: bool) -> None:
    async with connected(settings) as client:
        tail = await client.profile.log.tail(client.run_client.topics.dlq, earliest=True)
        try:
            await tail.watch([0])
            while records := await tail.poll(LAST_WORD, PAGE):
                for record in records:
                    letter = _letter(record)
                    click.echo(json_line(letter) if as_json else _line(letter))
        finally:
            await tail.close()


def _letter(record: "Record") -> dict[str, object]:
    from holdfast.app.records import rfc3339

    headers = {name: value.decode(errors="replace") for name, value in record.headers}
    return {
        "offset": record.offset,
        "at": rfc3339(record.timestamp * 1_000),
        "key": None if record.key is None else record.key.decode(errors="replace"),
        "error_class": headers.get("holdfast_error_class"),
        "error": headers.get("holdfast_error"),
        "source_topic": headers.get("holdfast_source_topic"),
        "source_partition": _whole(headers.get("holdfast_source_partition")),
        "source_offset": _whole(headers.get("holdfast_source_offset")),
        "ce_type": headers.get("ce_type"),
        "ce_id": headers.get("ce_id"),
        "bytes": len(record.value),
    }


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _line(letter: dict[str, object]) -> str:
    from holdfast.cli.looking import moment

    place = f"{letter['source_topic']}/{letter['source_partition']}/{letter['source_offset']}"
    error = " ".join(str(letter["error"]).split())
    return f"{letter['offset']:>5}  {moment(letter['at'])}  {letter['error_class']}  {letter['key']}  {place}  {error}"
