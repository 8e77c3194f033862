"""The commands that ask something of runs: start, signal, cancel, terminate, resume.

Laws of this file:
- The author's JSON travels byte by byte as it was written; that it is JSON is checked here.
- A request is sent when the log has it; `start --wait` alone waits for what follows.
"""

import getpass
import os
import sys
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from holdfast.cli.failures import ENDED, MISSING, USAGE, CommandFailed
from holdfast.cli.frame import Subcommand, connected, finish, settings_of

if TYPE_CHECKING:
    from holdfast.client import Client, RunHandle
    from holdfast.ports.journal import StoredEvent, StoredRun
    from holdfast.settings import Settings

Found = TypeVar("Found")

HEARD = 3.0
"""Seconds to look for what becomes of a request that was sent."""
no_wait = click.option(
    "--no-wait", is_flag=True, help="Do not wait 5 s for a run that may just have been started elsewhere."
)
_input = click.option("--input", "given", metavar="JSON|@FILE|-", help="The value: JSON, @file, or - for stdin.")


@click.command(cls=Subcommand)
@click.argument("workflow")
@click.option("--id", "run_id", metavar="ID", help="The run's id, such as an order number; made up if left out.")
@_input
@click.option("--attribute", "attributes", multiple=True, metavar="NAME=VALUE", help="To find the run by; repeatable.")
@click.option("--wait", is_flag=True, help="Wait for the result and print it as JSON; exit 1 if it is none.")
@click.pass_context
def start(
    context: click.Context,
    workflow: str,
    *,
    run_id: str | None,
    given: str | None,
    attributes: tuple[str, ...],
    wait: bool,
) -> None:
    """Start a run of WORKFLOW and print its id, or its result.

        holdfast start tea --id tea-1 --input '"Ada"' --wait
        holdfast start prescription_order --id order-1042 --input @order.json
        echo '"Ada"' | holdfast start tea --input -

    The value of a workflow with one parameter; an object by names for several. The same start again changes nothing.
    """
    data = json_of(given)
    named = dict(_pair(one) for one in attributes)
    finish(_start(settings_of(context), workflow, data, run_id, named, wait=wait))


async def _start(
    settings: "Settings", workflow: str, data: bytes, run_id: str | None, attributes: dict[str, str], *, wait: bool
) -> None:
    async with connected(settings) as client:
        run = await client.start_raw(workflow, data, id=run_id, attributes=attributes)
        if not wait:
            click.echo(run.run_id)
            return
        if run_id is None and sys.stderr.isatty():
            click.echo(f"run {run.run_id}", err=True)
        client.remind = lambda text: click.echo(f"holdfast: {text}", err=True)
        await _print_result(client, run)


async def _print_result(client: "Client", run: "RunHandle[Any]") -> None:
    from holdfast.core.commands import RunOutcome
    from holdfast.views import state_of, what_next, why

    outcome = await run.outcome(stop_when_parked=True)
    if isinstance(outcome, RunOutcome) and outcome.status == "COMPLETED" and outcome.result is not None:
        data = outcome.result.data
        if outcome.result.blob is not None:
            data = (await client.profile.store.blobs([outcome.result.blob]))[outcome.result.blob]
        click.echo(data)
        return
    stored = await client.run_client.history(run.run_id)
    said, then = "ended", ""
    if stored is not None:
        said = why(stored, client.profile.codec)
        if not isinstance(outcome, RunOutcome):
            then = f"; put it right, then: {' ; '.join(what_next(state_of(stored, client.profile.codec)))}"
    raise CommandFailed(ENDED, f"{run.run_id} {said}{then}")


@click.command(cls=Subcommand)
@click.argument("run")
@click.argument("name")
@_input
@click.option("--message-id", metavar="ID", help="The same id counts once; made up if left out.")
@click.pass_context
def signal(context: click.Context, run: str, name: str, given: str | None, message_id: str | None) -> None:
    """Tell RUN something under NAME; the run may start later.

    holdfast signal order-1042 shipped --input '{"parcel": "JJD01"}' --message-id parcel-17
    """
    finish(_signal(settings_of(context), run, name, json_of(given), message_id))


async def _signal(settings: "Settings", run: str, name: str, data: bytes, message_id: str | None) -> None:
    async with connected(settings) as client:
        stored = await client.run_client.history(client.run(run).run_id)
        if stored is not None and stored.row.ended_at is not None:
            raise CommandFailed(USAGE, f"run {run} has ended ({stored.row.status}) and hears no signals any more")
        message_id = message_id or uuid.uuid4().hex
        await client.signal_raw(run, name, data, message_id=message_id)
        waits = " (it is not started yet; the signal is kept for 24 h)"
        if stored is not None:
            waits = await _heard(client, run, message_id)
        click.echo(f"told {run}: {name}{waits}")


async def _heard(client: "Client", run: str, message_id: str) -> str:
    """Look for a moment what becomes of a signal.

    Raises:
        CommandFailed: the code of the run waits for something else.
    """
    from holdfast.views import heard

    found = await _look_for(client, run, lambda stored: heard(stored, client.profile.codec, message_id))
    if found:
        raise CommandFailed(ENDED, f"run {run} refuses it: {found}", "the signal")
    if found is None and not await client.profile.store.seen_signals([(run, message_id)]):
        return f" (nobody has taken it yet; {await client.unserved(run) or 'it is kept'})"
    return ""


async def _look_for(client: "Client", run: str, found: Callable[["StoredRun"], Found | None]) -> Found | None:
    """Look at a run until something is found in it; None if it is not for some seconds."""
    clock, store = client.profile.clock, client.profile.store
    until = clock.monotonic() + HEARD
    mark = 0
    while True:
        stored = await store.history(run)
        seen = None if stored is None else found(stored)
        if seen is not None or clock.monotonic() >= until:
            return seen
        mark = await store.changed(mark)


@click.command(cls=Subcommand)
@click.argument("run")
@click.option("--reason", default="", metavar="R", help="Why; kept in the history.")
@no_wait
@click.pass_context
def cancel(context: click.Context, run: str, reason: str, *, no_wait: bool) -> None:
    """Ask RUN to stop by itself: its code is told and may tidy up.

    holdfast cancel order-1042 --reason "the customer changed her mind"
    """

    async def ask(client: "Client") -> None:
        await client.cancel(run, reason)

    finish(_ask(settings_of(context), run, "cancel", ask, no_wait=no_wait))


@click.command(cls=Subcommand)
@click.argument("run")
@click.option("--reason", required=True, metavar="R", help="Why; kept in the history.")
@no_wait
@click.pass_context
def terminate(context: click.Context, run: str, reason: str, *, no_wait: bool) -> None:
    """End RUN without asking its code.

    holdfast terminate order-1042 --reason "entered twice, see order-1043"
    """

    async def ask(client: "Client") -> None:
        await client.terminate(run, reason)

    finish(_ask(settings_of(context), run, "terminate", ask, no_wait=no_wait))


@click.command(cls=Subcommand)
@click.argument("run")
@click.option("--by", metavar="WHO", help="Who decides; kept in the history [the user of this machine].")
@no_wait
@click.pass_context
def resume(context: click.Context, run: str, by: str | None, *, no_wait: bool) -> None:
    """Let a parked RUN go on, after its cause is put right.

    holdfast show order-1042          # says why it is parked
    holdfast resume order-1042
    """
    who = by or _user()

    async def ask(client: "Client") -> None:
        await client.resume(run, who)

    finish(_ask(settings_of(context), run, "resume", ask, no_wait=no_wait))


async def _ask(
    settings: "Settings", run: str, what: str, ask: Callable[["Client"], Awaitable[None]], *, no_wait: bool
) -> None:
    from holdfast.core.run import EFFECT_PARKED
    from holdfast.views import cancellations

    async with connected(settings) as client:
        stored = await found(client, run, no_wait=no_wait)
        if what == "resume" and stored.row.parked == EFFECT_PARKED:
            raise CommandFailed(ENDED, _waits_for_effects(client, stored))
        if stored.row.ended_at is not None:
            click.echo(f"run {run} has ended ({stored.row.status}); nothing to {what}")
        elif what == "resume" and not _can_be_resumed(client, stored):
            click.echo(f"run {run} is not parked ({stored.row.status}); nothing to resume")
        elif what == "cancel" and (asked := cancellations(stored)):
            await ask(client)
            await _cancelled_again(client, run, asked)
        else:
            await ask(client)
            click.echo(f"asked: {what} {run}")


def _can_be_resumed(client: "Client", stored: "StoredRun") -> bool:
    """Tell whether the run is parked, or a step of it that a resume tries again."""
    from holdfast.views import state_of

    return stored.row.status == "PARKED" or bool(state_of(stored, client.profile.codec).parked_plainly)


async def _cancelled_again(client: "Client", run: str, asked: "Sequence[StoredEvent]") -> None:
    """Tell what became of a request to cancel a run that was asked to stop before."""
    from holdfast.app.records import rfc3339
    from holdfast.cli.looking import moment
    from holdfast.views import cancellations

    def again(stored: "StoredRun") -> bool | None:
        return stored.row.ended_at is not None or len(cancellations(stored)) > len(asked) or None

    if await _look_for(client, run, again):
        click.echo(f"asked: cancel {run}")
        return
    unserved = await client.unserved(run)
    click.echo(
        f"run {run} was asked to stop at {moment(rfc3339(asked[-1].at))}, and "
        + (unserved or "its code is still at work on it: nothing is changed")
        + f"; to end it without asking its code: holdfast terminate {run} --reason R"
    )


def _waits_for_effects(client: "Client", stored: "StoredRun") -> str:
    from holdfast.views import parked_effects, state_of, what_next

    run = state_of(stored, client.profile.codec)
    named = ", ".join(parked_effects(run))
    then = " ; ".join(what_next(run))
    return f"{run.run_id} waits for a verdict on {named}, which resume does not give; see what happened, then: {then}"


async def found(client: "Client", run: str, *, no_wait: bool) -> "StoredRun":
    """Find a run; one that was just started may not be stored yet."""
    from holdfast.app.client.run_client import LOOK_UP, told_of

    run_id = client.run(run).run_id
    stored = await client.run_client.find(run_id, 0.0 if no_wait else LOOK_UP)
    if stored is None:
        tombstone = (await client.profile.store.tombstones([run_id])).get(run_id)
        if tombstone is not None:
            raise CommandFailed(MISSING, told_of(tombstone))
        namespace = client.profile.namespace
        raise CommandFailed(MISSING, f"there is no run {run} in namespace {namespace}; see holdfast list")
    return stored


def json_of(given: str | None, option: str = "--input") -> bytes:
    """Read an option: JSON itself, @file, or - for stdin; null if left out."""
    import msgspec

    if given is None:
        return b"null"
    if given == "-":
        data, where = sys.stdin.buffer.read(), "stdin"
    elif given.startswith("@"):
        data, where = _read(given[1:], option), given[1:]
    else:
        data, where = given.encode(errors="surrogateescape"), option
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        hint = """ (a text needs its quotes: '"Ada"')""" if where == option else ""
        raise CommandFailed(USAGE, f"{where} is not JSON: {error}{hint}") from error
    return data.strip()


def _read(name: str, option: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except FileNotFoundError as error:
        raise CommandFailed(MISSING, f"there is no file {name} for {option}") from error
    except OSError as error:
        raise CommandFailed(USAGE, f"{name} cannot be read for {option}: {error.strerror}") from error


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise CommandFailed(USAGE, f"--attribute {text!r} is not NAME=VALUE")
    return name, value


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container without a name for its user
        return str(os.getuid())
