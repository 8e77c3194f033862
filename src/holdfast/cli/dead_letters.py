"""The commands about dead letters: dlq list, dlq show, dlq redrive."""

from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from holdfast.cli.failures import ENDED, MISSING, USAGE, CommandFailed
from holdfast.cli.frame import Subcommand, Subgroup, connected, finish, settings_of
from holdfast.cli.looking import as_json, json_line
from holdfast.cli.topics import instant

if TYPE_CHECKING:
    from holdfast.app.client.dead_letters import DeadLetters, Wanted
    from holdfast.client import Client
    from holdfast.ports.log import Record
    from holdfast.settings import Settings

RATE = 100
_WORDS = ("class", "topic", "run", "since", "until")

filtered = click.option(
    "--filter", "filter_", metavar="F", help="Only those that match: class=C,topic=T,run=R,since=2h,until=T."
)


@click.group(cls=Subgroup)
def dlq() -> None:
    """Dead letters: messages that could not be handled, kept whole."""


@dlq.command(name="list", cls=Subcommand)
@filtered
@as_json
@click.pass_context
def list_letters(context: click.Context, *, filter_: str | None, as_json: bool) -> None:
    """List the dead letters, the oldest first.

        holdfast dlq list
        holdfast dlq list --filter class=run_ended,since=2h
        holdfast dlq list --json | jq .error_class

    A filter has any of class, topic (commands, or its whole name), run, since and until (as for republish).
    """
    finish(_list(settings_of(context), filter_, as_json=as_json))


async def _list(settings: "Settings", filter_: str | None, *, as_json: bool) -> None:
    async with (
        connected(settings) as client,
        aclosing(letters_of(client).read(wanted_of(filter_, client))) as letters,
    ):
        async for record in letters:
            letter = _letter(record)
            click.echo(json_line(letter) if as_json else _line(letter))


@dlq.command(cls=Subcommand)
@click.argument("offset", type=click.IntRange(min=0))
@click.pass_context
def show(context: click.Context, *, offset: int) -> None:
    """Show one dead letter whole, as JSON: its headers, and its value as text where it is text.

    holdfast dlq show 17
    """
    finish(_show(settings_of(context), offset))


async def _show(settings: "Settings", offset: int) -> None:
    from holdfast.app.client.dead_letters import Wanted

    async with connected(settings) as client, aclosing(letters_of(client).read(Wanted(), last=offset)) as letters:
        async for record in letters:
            if record.offset == offset:
                headers = {name: value.decode(errors="backslashreplace") for name, value in record.headers}
                value = record.value.decode(errors="backslashreplace")
                click.echo(json_line({**_letter(record), "headers": headers, "value": value}))
                return
    raise CommandFailed(MISSING, f"there is no dead letter at offset {offset}: see holdfast dlq list")


@dlq.command(cls=Subcommand)
@filtered
@click.option("--all", "everything", is_flag=True, help="All dead letters; instead of --filter.")
@click.option("--rate", type=click.IntRange(min=1), default=RATE, show_default=True, help="At most so many a second.")
@click.option("--dry-run", is_flag=True, help="Only list which would be redriven.")
@click.pass_context
def redrive(context: click.Context, *, filter_: str | None, everything: bool, rate: int, dry_run: bool) -> None:
    """Give dead letters back to the topic where they stood, once what was the matter is mended.

        holdfast dlq redrive --filter class=unfit_signal,since=1d --dry-run
        holdfast dlq redrive --filter run=order-1042
        holdfast dlq redrive --all --rate 20

    A start, signal, cancellation or result counts once, however often it is redriven. What dies again is a new dead
    letter, which says how often it was redriven. Exit code 1 if some could not be redriven; it says which and why.
    """
    if (filter_ is None) != everything:
        raise CommandFailed(USAGE, "dlq redrive needs --filter F, or --all")
    finish(_redrive(settings_of(context), filter_, rate, dry_run=dry_run))


async def _redrive(settings: "Settings", filter_: str | None, rate: int, *, dry_run: bool) -> None:
    if dry_run:
        await _list(settings, filter_, as_json=False)
        return
    async with connected(settings) as client:
        letters, wanted = letters_of(client), wanted_of(filter_, client)
        found = await letters.find(wanted)
        done, refused, told = 0, 0, 0
        try:
            async with aclosing(letters.redrive(wanted, found, rate=rate)) as batches:
                async for number, left in batches:
                    done, refused = done + number, refused + len(left)
                    for one in left:
                        click.echo(f"dead letter {one.letter.offset} was not redriven: {one.why}", err=True)
                    if done - told >= rate:  # about once a second
                        told = done
                        click.echo(f"redriven {done} of {found.count}", err=True)
        finally:
            if done + refused < found.count:
                click.echo(
                    f"stopped: redriven {done} of {found.count}. Give the same command again: it begins anew, and what"
                    " counted already counts no more",
                    err=True,
                )
        click.echo(f"redriven {done} of {found.count} dead letters")
    if refused:
        raise CommandFailed(
            ENDED, f"{refused} dead letters were not redriven, for the reasons above", "the dead letters"
        )


def letters_of(client: "Client") -> "DeadLetters":
    from holdfast.app.client.dead_letters import DeadLetters

    profile = client.profile
    return DeadLetters(profile.log, profile.store, profile.clock, client.run_client.topics.dlq)


def wanted_of(text: str | None, client: "Client") -> "Wanted":
    """Read a filter: `class=run_ended,topic=commands,run=order-1042,since=2h,until=10m`."""
    from holdfast.app.client.dead_letters import Wanted
    from holdfast.ports.topics import full_name

    said: dict[str, str] = {}
    for part in text.split(",") if text is not None else ():
        word, equals, value = (one.strip() for one in part.partition("="))
        if not equals or word not in _WORDS or not value or word in said:
            raise CommandFailed(USAGE, f"--filter {part!r}: write WORD=VALUE,… with the words {', '.join(_WORDS)}")
        said[word] = value
    now, namespace, topic = client.profile.clock.now(), client.run_client.topics.namespace, said.get("topic")
    return Wanted(
        error_class=said.get("class"),
        topic=topic if topic is None or topic.endswith(".v1") else full_name(namespace, topic),
        run=said.get("run"),
        since=instant(said["since"], now, "--filter since") if "since" in said else 0,
        until=instant(said["until"], now, "--filter until") if "until" in said else None,
    )


def _letter(record: "Record") -> dict[str, object]:
    from holdfast.app.records import rfc3339, times_redriven

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
        "redriven": times_redriven(record),
    }


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _line(letter: dict[str, object]) -> str:
    from holdfast.cli.looking import moment

    place = f"{letter['source_topic']}/{letter['source_partition']}/{letter['source_offset']}"
    error = " ".join(str(letter["error"]).split())
    about = f"{letter['error_class']}  {letter['key']}  {place}  {error}"
    again = f"redriven {letter['redriven']}×  " if letter["redriven"] else ""
    return f"{letter['offset']:>5}  {moment(letter['at'])}  {again}{about}"
