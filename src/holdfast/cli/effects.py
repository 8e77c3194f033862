"""The commands about the effect ledger: effects, gone. What decides on an effect stands in resolving.py.

Laws of this file:
- A list is one line an effect; of a run, or of one effect, the whole story is told: every move, who, when, with what.
- An operator's word that a process has ended is refused where this machine can see that process alive.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.failures import ENDED, MISSING, CommandFailed
from holdfast.cli.frame import Subcommand, connected, finish, settings_of
from holdfast.cli.looking import as_json, json_line, moment
from holdfast.cli.plain import plain

if TYPE_CHECKING:
    from holdfast.client import Client
    from holdfast.ports.ledger import Story
    from holdfast.settings import Settings

PAGE = 200
AT_ONCE = 16
"""Stories that are read, and verdicts that are waited for, at the same time."""
SHOWN_DIGITS = 12
SHOWN_HASH = 16
STATES = (
    "PLANNED", "CLAIMED", "INFLIGHT", "IN_DOUBT", "RECONCILING", "PARKED", "SUCCEEDED", "FAILED", "CANCELLED",
)  # fmt: skip


@click.command(cls=Subcommand)
@click.argument("run", required=False)
@click.option("--state", type=click.Choice(STATES, case_sensitive=False), help="Only effects in this state.")
@click.option("--name", metavar="N", help="Only effects of this name.")
@click.option("--conflicts", is_flag=True, help="Only effects that were proved after they were closed otherwise.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Stop after N effects [all; 100 in a terminal].")
@as_json
@click.pass_context
def effects(
    context: click.Context,
    run: str | None,
    *,
    state: str | None,
    name: str | None,
    conflicts: bool,
    limit: int | None,
    as_json: bool,
) -> None:
    """List effects, or tell the story of those of RUN, or of one (RUN/STEP, or its id).

    holdfast effects --state PARKED
    holdfast effects order-1042
    holdfast effects order-1042/charge#1 --json | jq .moves
    """
    settings = settings_of(context)
    if run is not None:

        def wanted(story: "Story") -> bool:
            return state in {None, story.effect.state} and name in {None, story.effect.name}

        finish(_tell(settings, run, wanted, conflicts=conflicts, as_json=as_json))
    else:
        finish(_list(settings, state, name, limit, conflicts=conflicts, as_json=as_json))


async def _list(
    settings: "Settings", state: str | None, name: str | None, limit: int | None, *, conflicts: bool, as_json: bool
) -> None:
    from holdfast.effect_views import described

    most = limit or (100 if sys.stdout.isatty() and not as_json else sys.maxsize)
    shown = 0
    async with connected(settings) as client:
        async for story in stories(client, state=state, name=name, conflicts=conflicts):
            if shown == most:
                if limit is None:
                    click.echo(f"the first {most}; more with --limit N", err=True)
                return
            click.echo(json_line(described(story)) if as_json else effect_line(story))
            shown += 1


async def _tell(
    settings: "Settings", name: str, wanted: Callable[["Story"], bool], *, conflicts: bool, as_json: bool
) -> None:
    from holdfast.effect_views import conflicts as conflicts_of
    from holdfast.effect_views import described, gone

    async with connected(settings) as client:
        found = [
            story for story in await _named(client, name) if wanted(story) and (conflicts_of(story) or not conflicts)
        ]
        senders = {move.who for story in found for move in story.moves if move.sent}
        rows = await client.profile.ledger.processes(senders)
        ends = {process: row.gone for process, row in rows.items()}
    for number, story in enumerate(found):
        if as_json:
            click.echo(json_line(described(story)))
            continue
        if number:
            click.echo()
        for line in timeline(story, gone(story, ends)):
            click.echo(line)
    if not found and not as_json:
        click.echo(f"{name} has no such effects")


async def _named(client: "Client", name: str) -> Sequence["Story"]:
    """Find the effects of a run, or the one of that name."""
    if "/" in name:
        return [await client.resolutions.find(name)]
    found = await client.effects(name)
    if found or await client.profile.store.history(name) is not None:
        return found
    try:
        return [await client.resolutions.find(name)]
    except LookupError as error:
        raise CommandFailed(MISSING, f"there is no run and no effect {name}; see: holdfast effects") from error


async def stories(
    client: "Client", *, state: str | None = None, name: str | None = None, conflicts: bool = False
) -> AsyncIterator["Story"]:
    """Read effects with their moves, by effect id, page by page."""
    from holdfast.effect_views import conflicts as conflicts_of

    ledger = client.profile.ledger
    after: str | None = None
    while True:
        if conflicts:
            page = await ledger.conflicts(limit=PAGE, after=after)
        else:
            page = await ledger.effects(states=[state] if state else (), name=name, limit=PAGE, after=after)
        for first in range(0, len(page), AT_ONCE):
            some = page[first : first + AT_ONCE]
            for story in await asyncio.gather(*(ledger.story(effect.effect_id) for effect in some)):
                if story is None or (conflicts and not conflicts_of(story)):
                    continue
                if state in {None, story.effect.state} and name in {None, story.effect.name}:
                    yield story
        if len(page) < PAGE:
            return
        after = page[-1].effect_id


def effect_line(story: "Story") -> str:
    """Write an effect as a line for people."""
    from holdfast.app.records import rfc3339
    from holdfast.effect_views import since

    effect = story.effect
    head = f"{effect.effect_id[:SHOWN_DIGITS]}  {effect.run_id:<24}  {effect.step_id:<16}  {effect.state:<11}"
    at = moment(rfc3339(since(story)))
    return plain(f"{head}  {effect.terms.guard:<12}  {at}  {' '.join(effect.reason.split())}".rstrip())


def timeline(story: "Story", ends: Mapping[str, str]) -> list[str]:
    """Write an effect's story for people: what it is, every move, what is known of its senders, what to do next."""
    from holdfast.effect_views import described, moves_of
    from holdfast.views import decide_on

    view = described(story)
    lines = [f"{view['run_id']}/{view['step_id']}  {view['state']}  {view['guard']}  {view['effect_id']}"]
    facts = {
        "why": view["reason"],
        "error": _error(view["error"]),
        "result": None if story.effect.result is None else json_line(view["result"]).decode(),
        "resolved": view["resolved_by"] and f"by {view['resolved_by']}",
        "window": view["window_until"] and f"the key may be sent again until {moment(view['window_until'])}",
    }
    lines += [f"  {name:<9} {_one_line(said)}" for name, said in facts.items() if said]
    lines += [_move_line(move) for move in moves_of(story)]
    for sender, end in ends.items():
        if end or not story.effect.settled:
            lines.append(f"  sender    {sender}: {end or 'nobody knows whether it can still send'}")
    if view["state"] == "PARKED":
        lines.append(f"  then      {decide_on(story.effect.run_id, story.effect.step_id)}")
    return [plain(line) for line in lines]


def _move_line(move: Mapping[str, Any]) -> str:
    to = move["to"] if move["from"] in {None, move["to"]} else f"{move['from']} → {move['to']}"
    said = [f"  {moment(move['at'])}  {move['what']:<9}  {to:<23}  by {move['who']}"]
    if move["request_hash"]:
        said.append(f"request {move['request_hash'][:SHOWN_HASH]}")
    said += [str(move[name]) for name in ("reason", "evidence") if move[name]]
    return "  ".join(_one_line(one) if number else one for number, one in enumerate(said))


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


def _error(error: object) -> str | None:
    return f"{error['type']}: {error['message']}" if isinstance(error, dict) else None


@click.command(cls=Subcommand)
@click.argument("process")
@click.option("--by", required=True, metavar="WHO", help="Who says so; kept in the ledger.")
@click.option("--reason", required=True, metavar="WHY", help="How you know; kept in the ledger.")
@click.pass_context
def gone(context: click.Context, process: str, *, by: str, reason: str) -> None:
    """Say that PROCESS has ended and can send nothing any more.

        holdfast effects order-1042       # names the senders of an effect, and whether they are known to be gone
        holdfast gone worker-7-4711-1a2b3c4d --by ada --reason "the machine was taken apart, see INC-17"

    An effect under guard "lookup" is sent again only when its sender is known to be gone. A process says so itself
    when it ends in peace, and its own machine knows; this is for machines that are no more. Be sure of it: if the
    process lives, the effect may happen twice.
    """
    finish(_gone(settings_of(context), process, by, reason))


async def _gone(settings: "Settings", process: str, by: str, reason: str) -> None:
    from holdfast.core.effects import PARKED

    async with connected(settings) as client:
        ledger, host = client.profile.ledger, client.profile.host
        row = (await ledger.processes([process])).get(process)
        if row is None:
            raise CommandFailed(MISSING, f"the ledger knows no process {process}; holdfast effects RUN names senders")
        if row.gone:
            click.echo(f"{process} is known to be gone: {row.gone}")
            return
        if row.host and row.host == host.me(process).host and not host.gone(row):
            raise CommandFailed(ENDED, f"{process} runs on this very machine, as pid {row.pid}: end it first", process)
        await ledger.deregister(process, f"{by}'s word: {reason}")
        click.echo(f"noted: {process} is gone")
        parked = [story async for story in stories(client, state=PARKED) if story.effect.sender == process]
    if parked:
        text = f"{len(parked)} of the effects that it sent are parked, and go on when you decide"
        click.echo(f"{text}: holdfast resolve --filter sender={process} --retry --dry-run --by WHO --reason WHY")
