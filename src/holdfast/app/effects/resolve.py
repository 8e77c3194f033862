"""Deciding on a parked effect from outside: find it, ask its run's owner, wait for what the ledger makes of it.

Laws of this file:
- A verdict is on the effect as its version was when the person looked. Whatever moves it first has won for good, and
  the person hears what that was.
- The same words of the same person about the same version are one verdict, however often they are said.
- Nothing is decided here: the ledger decides, in the commit of the shard's owner.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from holdfast.app.records import rfc3339
from holdfast.core.asks import FAIL, RETRY, SUCCEED, Move
from holdfast.core.commands import Command, ResolveEffect
from holdfast.core.effects import FAILED, PARKED, PLANNED, SUCCEEDED, Effect
from holdfast.core.payload import claim_check
from holdfast.core.retry import Failure
from holdfast.ports.ledger import Ledger, Story
from holdfast.sdk.definitions import steps

SOON = 0.02
LATER = 0.5
ID_DIGITS = 32
FEWEST_DIGITS = 8
RESOLVED = "Resolved"
"""`Failure.type` of an effect that a person declared failed."""

Send = Callable[[str, Command, Mapping[str, bytes], int], Awaitable[object]]
"""Takes a run id, a command, the large payloads to be kept first, and the incarnation that alone is to hear it."""

_LEADS_TO = {SUCCEED: SUCCEEDED, FAIL: FAILED, RETRY: PLANNED}


class EffectUnknown(LookupError):
    """There is no effect of that name: whoever named it has to look again."""


class ResolutionRefused(Exception):
    """The effect is not to be decided on, or was decided before; `effect` is how it stands."""

    def __init__(self, text: str, effect: Effect) -> None:
        super().__init__(text)
        self.effect = effect


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says: `succeeded` with the result as JSON in `data`, `failed` with `error`, or `retry`."""

    decision: str
    by: str
    reason: str
    data: bytes = b""
    error: str = ""


class Resolutions:
    """Finds effects and carries verdicts to their runs' owners by `send`."""

    def __init__(self, ledger: Ledger, send: Send) -> None:
        self._ledger = ledger
        self._send = send

    async def find(self, name: str) -> Story:
        """Find an effect by its id, the first digits of it, or RUN/STEP.

        Raises:
            EffectUnknown: there is none, or the digits are the beginning of several.
        """
        run_id, slash, step_id = name.rpartition("/")
        if slash:
            mine = [story for story in await self._ledger.stories(run_id) if story.effect.step_id == step_id]
            if not mine:
                raise EffectUnknown(f"run {run_id} has no effect {step_id}; see: holdfast effects {run_id}")
            return mine[-1]  # of the latest incarnation
        story = await self._ledger.story(await self._whole(name))
        if story is None:
            raise EffectUnknown(f"there is no effect {name}; an effect is named by its id or RUN/STEP")
        return story

    async def _whole(self, digits: str) -> str:
        if not FEWEST_DIGITS <= len(digits) < ID_DIGITS:
            return digits
        found = await self._ledger.effects(after=digits, limit=2)
        ids = [effect.effect_id for effect in found if effect.effect_id.startswith(digits)]
        if len(ids) > 1:
            raise EffectUnknown(f"{digits} begins the ids of several effects: {', '.join(ids)} …; write more of it")
        return ids[0] if ids else digits

    async def resolve(self, seen: Effect, verdict: Verdict) -> Effect:
        """Decide on an effect as it was seen, and wait for what the ledger makes of it.

        Raises:
            ResolutionRefused: it is not parked, or something else came first: says what, and when.
            UnfitValue: the result does not fit the effect's annotation, where its code is at hand.
        """
        command, blobs = asked(seen, verdict)
        if seen.state == PARKED or seen.settled:
            # About a settled one too: its run may not have heard of a proof that came late.
            # Of the next incarnation an effect may have the same step id and version, and nobody has seen that one.
            await self._send(seen.run_id, command, blobs, seen.incarnation)
        if seen.state == PARKED:
            await self._moved(seen)
        story = await self._ledger.story(seen.effect_id)
        assert story is not None  # noqa: S101 - rows of the ledger stay
        if any(is_of(move, command, seen.version) for move in story.moves):
            return story.effect
        raise ResolutionRefused(refusal(story, seen), story.effect)

    async def _moved(self, seen: Effect) -> None:
        """Wait until an effect has left the version in which it was seen."""
        pause = SOON
        while True:
            answer = (await self._ledger.look([seen.effect_id]))[seen.effect_id]
            if answer.effect is not None and answer.effect.version != seen.version:
                return
            await asyncio.sleep(pause)
            pause = min(LATER, pause * 1.5)


def asked(seen: Effect, verdict: Verdict) -> tuple[ResolveEffect, dict[str, bytes]]:
    """Put a verdict into a command, with the large payloads that have to be kept first."""
    blobs: dict[str, bytes] = {}
    result = error = None
    if verdict.decision == SUCCEED:
        check_result(seen.name, verdict.data)
        result = claim_check(verdict.data, blobs)
    elif verdict.decision == FAIL:
        error = Failure(RESOLVED, verdict.error or verdict.reason, step=seen.step_id, retryable=False)
    command = ResolveEffect(
        step_id=seen.step_id,
        version=seen.version,
        verdict=verdict.decision,
        by=verdict.by,
        reason=verdict.reason,
        result=result,
        error=error,
    )
    return command, blobs


def check_result(name: str, data: bytes) -> None:
    """Refuse a result that the effect's own code, if it is at hand, could not have returned."""
    definition = steps.get(name)
    if definition is not None:
        definition.shape.decode_result(data)


def is_of(move: Move, command: ResolveEffect, version: int) -> bool:
    """Tell whether a move is what a command led to; the ledger may have written the words of its author only."""
    return (
        move.what == "resolve"
        and move.version == version + 1
        and (move.who, move.reason, move.to) == (command.by, command.reason, _LEADS_TO[command.verdict])
        and (move.result, move.error) == (command.result, command.error)
    )


def refusal(story: Story, seen: Effect) -> str:
    """Say why a verdict counts for nothing: what was first, by whom, when."""
    effect = story.effect
    name = f"effect {effect.run_id}/{effect.step_id}"
    if seen.state != PARKED and not effect.settled:
        return f"{name} is {effect.state}, not parked: it is on its way, and there is nothing to decide"
    first = next((move for move in story.moves if seen.state == PARKED and move.version > seen.version), None)
    if first is None:
        first = next((move for move in reversed(story.moves) if move.what != "conflict"), None)
    said = "it has moved since you looked" if first is None else what_came_first(first)
    return f"{name}: {said}; it is {effect.state}, and your verdict changes nothing"


def what_came_first(move: Move) -> str:
    at = rfc3339(move.at)
    match move.what:
        case "prove":
            return f"{move.who} recorded its proof at {at} ({move.evidence or 'its result'})"
        case "resolve":
            return f"{move.who} decided {move.to} at {at} ({move.reason})"
        case _:
            return f"{move.what} of {move.who} led to {move.to} at {at}"
