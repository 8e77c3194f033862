"""What the ledger may be asked about an effect, and what came of it: the words of core/effects.py.

Law of this file: a move says all that changed, so that an effect's row is the fold of its moves.
"""

from typing import Final

import msgspec

from holdfast.core.payload import Payload
from holdfast.core.retry import Failure

TRANSACTION: Final = "transaction"
PROVIDER_KEY: Final = "provider_key"
LOOKUP: Final = "lookup"
AT_MOST_ONCE: Final = "at_most_once"
GUARDS = (TRANSACTION, PROVIDER_KEY, LOOKUP, AT_MOST_ONCE)

SUCCEED: Final = "succeeded"
FAIL: Final = "failed"
RETRY: Final = "retry"
VERDICTS = (SUCCEED, FAIL, RETRY)


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What an effect's guard rests on, as its code says when it is first sent. Spans in seconds.

    `window`: how long after the first sending the same key may be sent again (the provider's retention less a margin).
    `lifetime`: how long a request may be on its way after it was sent, before it can no longer take effect.
    `lookup`: the provider can be asked by our reference.
    """

    guard: str
    window: float | None = None
    lifetime: float | None = None
    lookup: bool = False


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all that the ledger is asked; `who` is a process or a person."""

    who: str


class Claim(Asked, frozen=True, kw_only=True):
    """Take the effect, before anything is sent; `lease` in seconds."""

    terms: Terms
    attempt: int
    lease: float


class Begin(Asked, frozen=True, kw_only=True):
    """Intend to send, from the next instant on: from PLANNED, or IN_DOUBT where the guard allows it."""

    terms: Terms
    attempt: int
    lease: float
    request: bytes | None = None


class Send(Asked, frozen=True, kw_only=True):
    """Intend to send, as the holder: from CLAIMED, or from RECONCILING when it is known not to have happened."""

    fence: int
    lease: float
    request: bytes | None = None


class Renew(Asked, frozen=True, kw_only=True):
    """Go on holding the effect for another `lease` seconds. It is no line of the story: the version stays."""

    fence: int
    lease: float


class Release(Asked, frozen=True, kw_only=True):
    """Give a claim back: nothing was sent, an ordinary failure happened before."""

    fence: int
    reason: str = ""


class Prove(Asked, frozen=True, kw_only=True):
    """The provider's proof that the effect happened, with its result."""

    result: Payload
    evidence: str = ""


class Refuse(Asked, frozen=True, kw_only=True):
    """The provider's definite no. `stored`: it keeps this answer under the key, for what was sent earlier as well.

    `again`: this very attempt had sent the request before, and heard nothing clear.
    """

    fence: int
    error: Failure
    stored: bool = False
    again: bool = False


class Unsend(Asked, frozen=True, kw_only=True):
    """Nothing left this machine: no connection, no handshake, no first byte. `again` as with `Refuse`."""

    fence: int
    again: bool = False
    reason: str = ""


class Doubt(Asked, frozen=True, kw_only=True):
    """The holder cannot tell what happened. `sender_gone` says why it can send no more, if that is known.

    `repeats`: the provider stores this very answer under the key (Stripe does so with a 500), so that sending again
    would tell nothing new.
    """

    fence: int
    reason: str = ""
    sender_gone: str = ""
    repeats: bool = False


class Expire(Asked, frozen=True, kw_only=True):
    """The holder's lease is over, or it is known to be gone (`sender_gone`); anyone may say so.

    `version` of the row as it was read: what was found out about its sender says nothing about a later one.
    """

    sender_gone: str = ""
    version: int | None = None


class Reconcile(Asked, frozen=True, kw_only=True):
    """Go and ask the provider; what is known of the sender's end is recorded before the question.

    `version` as with `Expire`.
    """

    attempt: int
    lease: float
    sender_gone: str = ""
    version: int | None = None


class Absent(Asked, frozen=True, kw_only=True):
    """The provider knows of nothing under our reference."""

    fence: int


class Unasked(Asked, frozen=True, kw_only=True):
    """The question could not be asked, or the answer not be read."""

    fence: int
    reason: str = ""


class Park(Asked, frozen=True, kw_only=True):
    """A person has to decide."""

    reason: str
    fence: int | None = None


class Cancel(Asked, frozen=True, kw_only=True):
    """Nobody wants the effect any more: close it, if nothing was sent."""


class Close(Asked, frozen=True, kw_only=True):
    """No further attempt will be made: close it if nothing was sent, else let a person decide."""

    reason: str = ""


class Resolve(Asked, frozen=True, kw_only=True):
    """A person's verdict on a parked effect: `succeeded` with a result, `failed` with an error, or `retry`.

    `version` of the row that the person saw: a verdict told twice, or late, is none on what has happened since.
    """

    version: int
    verdict: str
    reason: str
    result: Payload | None = None
    error: Failure | None = None


Ask = (
    Claim | Begin | Send | Renew | Release | Prove | Refuse | Unsend | Doubt
    | Expire | Reconcile | Absent | Unasked | Park | Cancel | Close | Resolve
)  # fmt: skip


class Move(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of an effect's story: what was asked, by whom, and where it led. What is None stays as it was."""

    effect_id: str
    version: int
    what: str
    who: str
    at: int
    was: str
    to: str
    fence: int
    attempt: int | None = None
    terms: Terms | None = None
    lease_until: int = 0
    request: bytes | None = None
    sent: bool = False
    asked: bool = False
    unclear: bool | None = None
    repeats: bool = False
    sender_gone: str | None = None
    result: Payload | None = None
    error: Failure | None = None
    reason: str = ""
    evidence: str = ""
    forgets_sending: bool = False


class Unmoved(msgspec.Struct, frozen=True):
    """Nothing changed, for a reason in one word: `settled` is a duplicate, the others are refused moves."""

    reason: str


CONFLICT: Final = "conflict"
"""`Move.what` of a proof that came after a person or a cancellation had closed the effect: the state stays."""
