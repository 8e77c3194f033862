"""`holdfast resolve`: a person decides on parked effects, one or many.

Laws of this file:
- Who decides and why is asked for each time; a verdict is never made up from a default.
- A dry run asks nothing of anybody. Without it, each effect is told as it is decided, and those that were refused too.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from holdfast.cli.asking import json_of
from holdfast.cli.effects import AT_ONCE, effect_line, stories
from holdfast.cli.failures import ENDED, INFRASTRUCTURE, USAGE, CommandFailed
from holdfast.cli.frame import Subcommand, connected, finish, settings_of
from holdfast.cli.topics import MICROS, UNITS

if TYPE_CHECKING:
    from holdfast.app.effects.resolve import Verdict
    from holdfast.client import Client
    from holdfast.ports.ledger import Story
    from holdfast.settings import Settings

PATIENCE = 30.0
"""Seconds in which the shard's owner is expected to hear of a verdict."""
_PARKED = "PARKED"
_WORDS = ("state", "name", "guard", "run", "sender", "older")


class Filter(NamedTuple):
    """Which parked effects are meant; None: any. `older` in microseconds since the effect was parked."""

    name: str | None = None
    guard: str | None = None
    run: str | None = None
    sender: str | None = None
    older: int = 0

    def takes(self, story: "Story", now: int) -> bool:
        from holdfast.effect_views import since

        effect = story.effect
        asked = ((self.guard, effect.terms.guard), (self.run, effect.run_id), (self.sender, effect.sender))
        return all(wanted in {None, found} for wanted, found in asked) and now - since(story) >= self.older


@click.command(cls=Subcommand)
@click.argument("effect", required=False)
@click.option(
    "--filter", "filter_", metavar="F", help="Decide on all parked effects that match: name=N,guard=G,older=2h …"
)
@click.option("--dry-run", is_flag=True, help="Only print which effects would be decided on.")
@click.option("--succeeded", metavar="JSON|@FILE|-", help="It happened; the result that the workflow gets.")
@click.option("--failed", metavar="REASON", help="It did not and will not happen; what the workflow's StepError says.")
@click.option("--retry", is_flag=True, help="It did not happen, and what was sent cannot happen any more: try again.")
@click.option("--by", required=True, metavar="WHO", help="Who decides; kept in the ledger.")
@click.option("--reason", required=True, metavar="WHY", help="Why, and how you know; kept in the ledger.")
@click.pass_context
def resolve(
    context: click.Context,
    effect: str | None,
    *,
    filter_: str | None,
    dry_run: bool,
    succeeded: str | None,
    failed: str | None,
    retry: bool,
    by: str,
    reason: str,
) -> None:
    """Decide on a parked EFFECT (RUN/STEP, or its id), or on many by --filter.

        holdfast resolve order-1042/charge#1 --succeeded '{"receipt": "ch_17"}' --by ada --reason "on their console"
        holdfast resolve order-1042/charge#1 --failed "card was stolen" --by ada --reason "they refused it by phone"
        holdfast resolve --filter name=charge,guard=at_most_once,older=2h --retry --dry-run --by ada --reason INC-17

    A filter has any of name, guard, run, sender (a process), older (30s, 10m, 2h, 1d) and state=PARKED.
    Exit code 1 if an effect is not parked any more, since a proof or another person came first; it says which.
    """
    if (effect is None) == (filter_ is None):
        raise CommandFailed(USAGE, "resolve needs an EFFECT, or --filter for several")
    given = _verdict(succeeded, failed, by, reason, retry=retry)
    wanted = None if filter_ is None else filter_of(filter_)
    finish(_resolve(settings_of(context), effect, wanted, given, dry_run=dry_run))


def _verdict(succeeded: str | None, failed: str | None, by: str, reason: str, *, retry: bool) -> "Verdict":
    from holdfast.app.effects.resolve import Verdict
    from holdfast.core.asks import FAIL, RETRY, SUCCEED

    if (succeeded is not None) + (failed is not None) + retry != 1:
        raise CommandFailed(USAGE, "resolve needs one of --succeeded JSON, --failed REASON and --retry")
    if not by.strip() or not reason.strip():
        raise CommandFailed(USAGE, "--by and --reason say who decides, and why: write them out")
    if succeeded is not None:
        return Verdict(decision=SUCCEED, by=by, reason=reason, data=json_of(succeeded, "--succeeded"))
    if failed is not None:
        return Verdict(decision=FAIL, by=by, reason=reason, error=failed)
    return Verdict(decision=RETRY, by=by, reason=reason)


def filter_of(text: str) -> Filter:
    """Read a filter: `name=charge,guard=lookup,older=2h`."""
    said: dict[str, str] = {}
    for part in text.split(","):
        word, equals, value = (one.strip() for one in part.partition("="))
        if not equals or word not in _WORDS or not value or word in said:
            raise CommandFailed(USAGE, f"--filter {part!r}: write WORD=VALUE,… with the words {', '.join(_WORDS)}")
        said[word] = value
    if said.pop("state", _PARKED).upper() != _PARKED:
        raise CommandFailed(USAGE, "only parked effects can be decided on: state=PARKED, or leave it out")
    older = said.pop("older", "0s")
    span = re.fullmatch(r"(\d+)([smhd])", older)
    if span is None:
        raise CommandFailed(USAGE, f"--filter older={older}: write 30s, 10m, 2h or 1d")
    return Filter(**said, older=int(span[1]) * UNITS[span[2]] * MICROS)


async def _resolve(
    settings: "Settings", effect: str | None, wanted: Filter | None, verdict: "Verdict", *, dry_run: bool
) -> None:
    async with connected(settings) as client:
        if wanted is None:
            story = await client.resolutions.find(effect or "")
            if dry_run:
                _would([story])
            else:
                click.echo(await _decide(client, story, verdict))
        elif dry_run:
            _would([story async for story in _matching(client, wanted)])
        else:
            await _decide_on_all(client, wanted, verdict)


async def _matching(client: "Client", wanted: Filter) -> AsyncIterator["Story"]:
    now = client.profile.clock.now()
    async for story in stories(client, state=_PARKED, name=wanted.name):
        if wanted.takes(story, now):
            yield story


def _would(found: Sequence["Story"]) -> None:
    """Say what would be done; of one that is not parked, that it would be refused."""
    parked = [story for story in found if story.effect.state == _PARKED]
    for story in found:
        click.echo(f"{'would resolve' if story in parked else 'would be refused'}: {effect_line(story)}")
    click.echo(f"would resolve {_count(len(parked))}; nothing was done")


async def _decide(client: "Client", story: "Story", verdict: "Verdict") -> str:
    """Decide on one; gives what is to be said.

    Raises:
        ResolutionRefused: something came first.
        CommandFailed: nobody has heard of it within `PATIENCE`.
    """
    name = f"{story.effect.run_id}/{story.effect.step_id}"
    try:
        async with asyncio.timeout(PATIENCE):
            now = await client.resolutions.resolve(story.effect, verdict)
    except TimeoutError as error:
        raise CommandFailed(
            INFRASTRUCTURE,
            f"{name}: the verdict is sent and kept, but no orchestrator took it in {PATIENCE:.0f} s; is one running?",
        ) from error
    return f"resolved: {name} {verdict.decision}, by {verdict.by} ({now.state})"


async def _decide_on_all(client: "Client", wanted: Filter, verdict: "Verdict") -> None:
    """Decide on all that match, some at the same time; those that are refused do not stop the others."""
    from holdfast.app.effects.resolve import ResolutionRefused

    refused = resolved = 0
    some: list[Story] = []

    async def decide() -> None:
        nonlocal refused, resolved
        told = await asyncio.gather(*(_decide(client, story, verdict) for story in some), return_exceptions=True)
        some.clear()
        for one in told:
            if isinstance(one, BaseException) and not isinstance(one, ResolutionRefused):
                raise one
            refused += isinstance(one, ResolutionRefused)
            resolved += isinstance(one, str)
            click.echo(one if isinstance(one, str) else f"refused: {one}")

    async for story in _matching(client, wanted):
        some.append(story)
        if len(some) == AT_ONCE:
            await decide()
    await decide()
    click.echo(f"resolved {_count(resolved)}, {refused} refused")
    if refused:
        raise CommandFailed(ENDED, f"{refused} of {refused + resolved} were refused, as told above", "effects")


def _count(number: int) -> str:
    return f"{number} effect{'' if number == 1 else 's'}"
