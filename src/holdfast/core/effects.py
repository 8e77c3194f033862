"""An effect in the ledger: how far a change of the outside world has come, and which move is allowed next.

Laws of this file:
- One row an effect, named by its place in its run, never by its attempt.
- INFLIGHT is committed before the first byte is sent. What was sent and not answered is never forgotten (`unclear`): a
  refusal or a `NotSent` of a later attempt says nothing about it.
- Whoever holds the provider's proof may record it, whatever the fence says; everything else is the current fence's.
- Every change of hands raises the fence, so that a late word of an earlier holder moves nothing. What was found out
  about a sender, and a person's verdict, are about the row's version that was read, and move no other.
- What is planned is clear: nothing that was sent, or begun in a target database, can still take effect.
- An effect is sent again only where its guard makes a second sending harmless; else a person decides.
- Time is the store's, in microseconds since the epoch, and arrives with the question.

The moves were model-checked (tests/simulation/ledger_model.py): two workers, a sweeper, a provider, every crash.
"""

from typing import Any, Final, assert_never

import msgspec

from holdfast.core.asks import (
    CONFLICT,
    FAIL,
    LOOKUP,
    PROVIDER_KEY,
    SUCCEED,
    TRANSACTION,
    Absent,
    Ask,
    Begin,
    Cancel,
    Claim,
    Close,
    Doubt,
    Expire,
    Move,
    Park,
    Prove,
    Reconcile,
    Refuse,
    Release,
    Renew,
    Resolve,
    Send,
    Terms,
    Unasked,
    Unmoved,
    Unsend,
)  # fmt: skip
from holdfast.core.payload import Payload
from holdfast.core.retry import MICROS, Failure

PLANNED: Final = "PLANNED"
CLAIMED: Final = "CLAIMED"
INFLIGHT: Final = "INFLIGHT"
IN_DOUBT: Final = "IN_DOUBT"
RECONCILING: Final = "RECONCILING"
PARKED: Final = "PARKED"
SUCCEEDED: Final = "SUCCEEDED"
FAILED: Final = "FAILED"
CANCELLED: Final = "CANCELLED"
STATES = (PLANNED, CLAIMED, INFLIGHT, IN_DOUBT, RECONCILING, PARKED, SUCCEEDED, FAILED, CANCELLED)
SETTLED = frozenset({SUCCEEDED, FAILED, CANCELLED})
HELD = frozenset({CLAIMED, INFLIGHT, RECONCILING})


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the ledger. `version` counts its moves; instants in microseconds since the epoch.

    `last_sent_at`: the latest instant known at which a byte of it may have left: its last intent, and once the sender
    is known to be gone, when that became known (it may have been paused in between).
    """

    effect_id: str
    run_id: str
    incarnation: int
    step_id: str
    shard: int
    name: str
    key: str
    request_hash: bytes
    terms: Terms
    planned_at: int
    state: str = PLANNED
    version: int = 0
    fence: int = 0
    attempt: int = 0
    owner: str = ""
    lease_until: int = 0
    sender: str = ""
    request: bytes | None = None
    first_sent_at: int | None = None
    last_sent_at: int | None = None
    asked_at: int | None = None
    unclear: bool = False
    repeats: bool = False
    sender_gone: str = ""
    result: Payload | None = None
    error: Failure | None = None
    reason: str = ""
    resolved_by: str = ""

    @property
    def settled(self) -> bool:
        return self.state in SETTLED

    @property
    def window_until(self) -> int | None:
        """The instant until which the provider is known to recognise the key; None before it was sent."""
        if self.first_sent_at is None or self.terms.window is None:
            return None
        return self.first_sent_at + int(self.terms.window * MICROS)

    @property
    def horizon(self) -> int:
        """The instant from which on no request that was sent can still take effect."""
        if self.last_sent_at is None:
            return 0
        return self.last_sent_at + int((self.terms.lifetime or 0) * MICROS)

    def may_be_sent_again(self, now: int) -> bool:
        """Tell whether sending the same bytes under the same key is harmless at `now`."""
        until = self.window_until
        return self.terms.guard == PROVIDER_KEY and not self.repeats and (until is None or now < until)

    def may_be_asked_about(self, now: int) -> bool:
        """Tell whether the provider is to be asked before anything else is done."""
        if self.terms.guard == LOOKUP:
            return True
        return self.terms.guard == PROVIDER_KEY and self.terms.lookup and not self.may_be_sent_again(now)


def course(effect: Effect, now: int) -> str:
    """Tell a worker what is to be done about an effect: one of the words below."""
    if effect.settled or effect.state == PARKED:
        return TELL
    if effect.state == PLANNED or (effect.state == CLAIMED and effect.lease_until <= now):
        return SEND
    if effect.state == IN_DOUBT:
        if effect.may_be_asked_about(now):
            return ASK
        return SEND if effect.may_be_sent_again(now) or effect.terms.guard == TRANSACTION else PARK
    return EXPIRE if effect.lease_until <= now else WAIT


TELL: Final = "tell"
"""Nothing is to be done: the run hears what the ledger holds."""
SEND: Final = "send"
ASK: Final = "ask"
PARK: Final = "park"
EXPIRE: Final = "expire"
WAIT: Final = "wait"
"""Somebody else holds it."""

SEND_ANEW: Final = "send"
"""The answer to `Absent` where it is known that nothing happened and nothing can: its holder may `Send`."""


def decide(effect: Effect, ask: Ask, now: int) -> Move | Unmoved:
    """Tell which move follows from `ask`, at the store's time `now`."""
    match ask:
        case Claim():
            return claim(effect, ask, now)
        case Begin():
            return begin(effect, ask, now)
        case Send():
            return send(effect, ask, now)
        case Renew(fence=fence):
            if effect.state not in HELD or effect.fence != fence:
                return Unmoved("fence")
            return msgspec.structs.replace(
                moved(effect, ask, now, effect.state, lease_until=until(now, ask.lease)), version=effect.version
            )
        case Release(fence=fence):
            if not holds(effect, fence, CLAIMED):
                return Unmoved("fence")
            if effect.unclear:
                return doubted(effect, ask, now, "an earlier attempt is unclear")
            return moved(effect, ask, now, PLANNED)
        case Prove():
            return prove(effect, ask, now)
        case Refuse():
            return refuse(effect, ask, now)
        case Unsend(fence=fence):
            if not holds(effect, fence, INFLIGHT):
                return Unmoved("fence")
            if effect.unclear or ask.again:
                return doubted(effect, ask, now, "an earlier attempt is unclear")
            return moved(effect, ask, now, PLANNED, forgets_sending=True)
        case Doubt(fence=fence):
            committing = effect.terms.guard == TRANSACTION and holds(effect, fence, CLAIMED)
            if not committing and not holds(effect, fence, INFLIGHT):
                return Unmoved("fence")
            return doubted(effect, ask, now, ask.reason, ask.sender_gone, repeats=ask.repeats)
        case Expire():
            return expire(effect, ask, now)
        case Reconcile():
            return reconcile(effect, ask, now)
        case Absent():
            return absent(effect, ask, now)
        case Unasked(fence=fence):
            if not holds(effect, fence, RECONCILING):
                return Unmoved("fence")
            return moved(effect, ask, now, IN_DOUBT, fence=effect.fence + 1)
        case Park():
            return park(effect, ask, now)
        case Cancel():
            return cancel(effect, ask, now)
        case Close():
            if effect.state == IN_DOUBT:
                return moved(effect, ask, now, PARKED)
            return cancel(effect, ask, now)
        case Resolve():
            return resolve(effect, ask, now)
        case _:
            assert_never(ask)


def claim(effect: Effect, ask: Claim, now: int) -> Move | Unmoved:
    """Take what is planned, or what its claimer has let lapse before sending anything.

    A `transaction` in doubt is claimed again: its own row in the target database tells whether it was committed. It is
    in doubt too where its claimer let it lapse, who may yet commit; then no code with another guard may have it.
    """
    lapsed = effect.state == CLAIMED and effect.lease_until <= now
    begun = effect.terms.guard == TRANSACTION and (lapsed or effect.state == IN_DOUBT)
    if effect.state != PLANNED and not lapsed and not begun:
        return Unmoved("settled" if effect.settled else "state")
    if begun and ask.terms.guard != TRANSACTION:
        reason = f"its guard has become {ask.terms.guard}, but an earlier attempt may yet commit it as a transaction"
        return moved(effect, ask, now, PARKED, fence=effect.fence + 1, reason=reason)
    return moved(
        effect, ask, now, CLAIMED, fence=effect.fence + 1, attempt=ask.attempt, terms=ask.terms,
        lease_until=until(now, ask.lease), unclear=True if begun else None,
    )  # fmt: skip


def begin(effect: Effect, ask: Begin, now: int) -> Move | Unmoved:
    """Commit the intent to send. Sending again needs a guard that makes it harmless, and identical bytes."""
    if effect.settled:
        return Unmoved("settled")
    if effect.state == IN_DOUBT:
        if ask.terms.guard != effect.terms.guard:
            return Unmoved("guard")
        if not effect.may_be_sent_again(now):
            return Unmoved("window")
        if effect.request is not None and ask.request is not None and ask.request != effect.request:
            return Unmoved("other_bytes")
    elif effect.state != PLANNED or ask.terms.guard == TRANSACTION:
        return Unmoved("state")
    return moved(
        effect, ask, now, INFLIGHT,
        fence=effect.fence + 1, attempt=ask.attempt, terms=ask.terms if effect.state == PLANNED else None,
        lease_until=until(now, ask.lease), request=ask.request, sent=True, sender_gone="",
    )  # fmt: skip


def send(effect: Effect, ask: Send, now: int) -> Move | Unmoved:
    """Commit the intent to send, as the holder of a claim, or of an answer that nothing happened."""
    if holds(effect, ask.fence, CLAIMED):
        if effect.terms.guard == TRANSACTION:
            return Unmoved("state")
    elif not holds(effect, ask.fence, RECONCILING):
        return Unmoved("fence")
    elif effect.terms.guard != LOOKUP or not asked_after_horizon(effect) or not effect.sender_gone:
        return Unmoved("horizon")
    return moved(
        effect, ask, now, INFLIGHT,
        lease_until=until(now, ask.lease), request=ask.request, sent=True, sender_gone="", unclear=False,
    )  # fmt: skip


def prove(effect: Effect, ask: Prove, now: int) -> Move | Unmoved:
    """Record that it happened, whoever says so. Against a closed effect it is a conflict that a person must hear of."""
    if effect.state == SUCCEEDED:
        return Unmoved("settled")
    if effect.settled:
        return msgspec.structs.replace(moved(effect, ask, now, effect.state, result=ask.result), what=CONFLICT)
    return moved(effect, ask, now, SUCCEEDED, result=ask.result)


def refuse(effect: Effect, ask: Refuse, now: int) -> Move | Unmoved:
    """Record a definite no, if it speaks for all that was sent."""
    if not holds(effect, ask.fence, CLAIMED) and not holds(effect, ask.fence, INFLIGHT):
        return Unmoved("fence")
    if (effect.unclear or ask.again) and not refuses_all(effect, stored=ask.stored):
        return doubted(effect, ask, now, f"refused ({ask.error.message}), but an earlier attempt is unclear")
    return moved(effect, ask, now, FAILED, error=ask.error)


def refuses_all(effect: Effect, *, stored: bool) -> bool:
    """Tell whether a refusal is also the answer to whatever else is on its way, under the same key.

    After a person's `retry` it may be an old one, which the provider is about to forget, if it ever does.
    """
    return stored and (effect.terms.window is None or not effect.resolved_by)


def expire(effect: Effect, ask: Expire, now: int) -> Move | Unmoved:
    """Take a held effect from a holder whose lease is over, or who is known to be gone."""
    if effect.state not in HELD:
        return Unmoved("settled" if effect.settled else "state")
    if ask.sender_gone and ask.version != effect.version:
        return Unmoved("version")
    if effect.lease_until > now and not ask.sender_gone:
        return Unmoved("lease")
    if effect.state == RECONCILING:  # the question is void; what is known of the sender stays
        return moved(effect, ask, now, IN_DOUBT, fence=effect.fence + 1)
    if effect.state == CLAIMED and effect.terms.guard != TRANSACTION:  # nothing was sent
        return moved(effect, ask, now, PLANNED, fence=effect.fence + 1)
    return doubted(effect, ask, now, "its lease is over", ask.sender_gone)


def reconcile(effect: Effect, ask: Reconcile, now: int) -> Move | Unmoved:
    """Go and ask, in the name of whoever sent last."""
    if effect.state != IN_DOUBT:
        return Unmoved("settled" if effect.settled else "state")
    if ask.sender_gone and ask.version != effect.version:
        return Unmoved("version")
    if not effect.may_be_asked_about(now):
        return Unmoved("guard")
    return moved(
        effect, ask, now, RECONCILING, fence=effect.fence + 1, attempt=ask.attempt,
        lease_until=until(now, ask.lease), asked=True, sender_gone=effect.sender_gone or ask.sender_gone,
    )  # fmt: skip


def absent(effect: Effect, ask: Absent, now: int) -> Move | Unmoved:
    """Draw the conclusion from "we have nothing": wait for the horizon, or let a person decide.

    Where the horizon had passed before the question and the sender is gone, the holder may send anew (`Send`).
    """
    if not holds(effect, ask.fence, RECONCILING):
        return Unmoved("fence")
    if effect.terms.guard != LOOKUP:
        reason = "the provider knows nothing under the key, and its window is over"
        return moved(effect, ask, now, PARKED, reason=reason)
    if not asked_after_horizon(effect):
        reason = "the provider knows nothing yet; a request may still be on its way"
        return moved(effect, ask, now, IN_DOUBT, fence=effect.fence + 1, reason=reason)
    if effect.sender_gone:
        return Unmoved(SEND_ANEW)
    reason = f"the provider knows nothing, and nobody can tell whether the sender ({effect.sender}) is gone"
    return moved(effect, ask, now, PARKED, reason=reason)


def park(effect: Effect, ask: Park, now: int) -> Move | Unmoved:
    """Stop, from where nobody is sending."""
    if ask.fence is not None and effect.fence != ask.fence:
        return Unmoved("fence")
    held_by_us = ask.fence is not None and effect.state in {CLAIMED, RECONCILING}
    if effect.state in {PLANNED, IN_DOUBT} or held_by_us:
        return moved(effect, ask, now, PARKED)
    return Unmoved("settled" if effect.settled else "state")


def cancel(effect: Effect, ask: Cancel | Close, now: int) -> Move | Unmoved:
    """Close what was never sent. A `transaction` that is claimed may be about to commit: its verdict is waited for."""
    claimed = effect.state == CLAIMED and effect.terms.guard != TRANSACTION
    if effect.state == PLANNED or claimed:
        return moved(effect, ask, now, CANCELLED, fence=effect.fence + 1)
    return Unmoved("settled" if effect.settled else "state")


def resolve(effect: Effect, ask: Resolve, now: int) -> Move | Unmoved:
    """Record a person's verdict. `retry` says that what was sent before did not happen and cannot happen any more."""
    if effect.state != PARKED:
        return Unmoved("settled" if effect.settled else "state")
    if effect.version != ask.version:
        return Unmoved("version")
    if ask.verdict == SUCCEED:
        return moved(effect, ask, now, SUCCEEDED, result=ask.result)
    if ask.verdict == FAIL:
        return moved(effect, ask, now, FAILED, error=ask.error)
    return moved(effect, ask, now, PLANNED, fence=effect.fence + 1, unclear=False, forgets_sending=True)


def holds(effect: Effect, fence: int, state: str) -> bool:
    return effect.state == state and effect.fence == fence


def asked_after_horizon(effect: Effect) -> bool:
    """Tell whether the provider's answer is about a time when nothing could be on its way any more."""
    return effect.asked_at is not None and effect.asked_at >= effect.horizon


def until(now: int, lease: float) -> int:
    return now + int(lease * MICROS)


def doubted(effect: Effect, ask: Ask, now: int, reason: str, sender_gone: str = "", *, repeats: bool = False) -> Move:
    return moved(
        effect, ask, now, IN_DOUBT, fence=effect.fence + 1,
        unclear=True, reason=reason, sender_gone=sender_gone, repeats=repeats,
    )  # fmt: skip


def moved(effect: Effect, ask: Ask, now: int, to: str, **changes: Any) -> Move:
    """Make the move that `ask` leads to; `changes` are fields of `Move`."""
    changes.setdefault("reason", getattr(ask, "reason", ""))
    return Move(
        effect_id=effect.effect_id,
        version=effect.version + 1,
        what=type(ask).__name__.lower(),
        who=ask.who,
        at=now,
        was=effect.state,
        to=to,
        fence=changes.pop("fence", effect.fence),
        evidence=getattr(ask, "evidence", ""),
        **changes,
    )


def evolve(effect: Effect, move: Move) -> Effect:
    """Fold a move into the row. Total; never refuses: it happened."""
    first = None if move.forgets_sending else effect.first_sent_at
    last = None if move.forgets_sending else effect.last_sent_at
    if move.sent:
        first, last = move.at if first is None else first, move.at
    elif move.sender_gone and not effect.sender_gone and last is not None:
        last = move.at
    return msgspec.structs.replace(
        effect,
        state=move.to,
        version=move.version,
        fence=move.fence,
        attempt=effect.attempt if move.attempt is None else move.attempt,
        terms=effect.terms if move.terms is None else move.terms,
        owner=move.who if move.to in HELD else effect.owner,
        sender=move.who if move.sent else effect.sender,
        lease_until=move.lease_until,
        request=effect.request if move.request is None else move.request,
        first_sent_at=first,
        last_sent_at=last,
        asked_at=move.at if move.asked else effect.asked_at,
        unclear=effect.unclear if move.unclear is None else move.unclear,
        repeats=move.repeats or (effect.repeats and not move.forgets_sending),
        sender_gone=effect.sender_gone if move.sender_gone is None else move.sender_gone,
        result=move.result if move.to == SUCCEEDED else effect.result,
        error=effect.error if move.error is None else move.error,
        reason=move.reason if move.to in {PARKED, IN_DOUBT} else "",
        resolved_by=move.who if move.what == "resolve" else effect.resolved_by,
    )
