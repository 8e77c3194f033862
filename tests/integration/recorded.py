"""One attempt of an effect for tests of what sends it: the ledger's own rules over one row in memory.

Law of this file: every move is decided and folded by `core/effects.py`; nothing here knows which moves are allowed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from holdfast.core.asks import PROVIDER_KEY, Ask, Begin, Doubt, Move, Prove, Refuse, Renew, Terms, Unmoved, Unsend
from holdfast.core.effects import INFLIGHT, Effect, decide, evolve
from holdfast.core.payload import Payload
from holdfast.core.retry import MICROS, Failure
from holdfast.sdk.providers import STRIPE, Profile
from holdfast.sdk.sending import SENDING
from holdfast.sdk.verdicts import NotSent, Refused, Unclear, Verdict

LEASE = 600.0


class Row:
    """An effect in a ledger of one row, and all that was asked of it."""

    def __init__(self, *, guard: str = PROVIDER_KEY, profile: Profile = STRIPE, key: str = "key-of-the-effect") -> None:
        self.profile = profile
        self.now = 1_700_000_000 * MICROS
        terms = Terms(guard=guard, window=profile.retention)
        self.effect = Effect(
            effect_id="e1", run_id="order-1", incarnation=0, step_id="charge#1", shard=0, name="charge", key=key,
            request_hash=b"", terms=terms, planned_at=self.now,
        )  # fmt: skip
        self.moves: list[Move] = []

    def ask(self, ask: Ask) -> Move | Unmoved:
        self.now += 1
        answer = decide(self.effect, ask, self.now)
        if isinstance(answer, Move):
            self.effect = evolve(self.effect, answer)
            self.moves.append(answer)
        return answer

    @property
    def story(self) -> list[str]:
        """The states it went through; a renewed lease is no line of it."""
        return [move.to for move in self.moves if move.what != "renew"]


class Attempt:
    """What a worker is to the function: `intend` moves the row, `heard` is remembered, the end settles."""

    def __init__(self, row: Row, *, who: str = "worker-1", before: Callable[[], Awaitable[None]] | None = None) -> None:
        self.row = row
        self.key = row.effect.key
        self.guard = row.effect.terms.guard
        self.profile = row.profile
        self.loop = asyncio.get_running_loop()
        self.who = who
        self.before = before
        self.begun = False
        self.verdicts: list[tuple[Verdict, str]] = []
        self.intents: list[bytes] = []

    async def intend(self, request: bytes) -> bytes:
        assert asyncio.get_running_loop() is self.loop
        if self.before is not None:
            await self.before()
        self.intents.append(request)
        row = self.row
        if self.begun:
            moved = row.ask(Renew(who=self.who, fence=row.effect.fence, lease=LEASE))
            if row.effect.state != INFLIGHT or request != row.effect.request or isinstance(moved, Unmoved):
                raise NotSent("this is not the request that the intent is for")
            return request
        stored = row.effect.request if row.effect.first_sent_at is not None else None
        begin = Begin(who=self.who, terms=row.effect.terms, attempt=1, lease=LEASE, request=stored or request)
        moved = row.ask(begin)
        if isinstance(moved, Unmoved):
            raise NotSent(f"the ledger says no: {moved.reason}")
        self.begun = True
        return stored or request

    def heard(self, verdict: Verdict, evidence: str = "") -> None:
        self.verdicts.append((verdict, evidence))

    @property
    def verdict(self) -> Verdict:
        assert self.verdicts, "nothing was heard"
        return self.verdicts[-1][0]

    @property
    def evidence(self) -> str:
        return self.verdicts[-1][1]

    async def run(self, function: Callable[[], Awaitable[Any]]) -> Any:
        """Run an effect's function as a worker would; gives what it returned or raised, after the row was settled."""
        token = SENDING.set(self)
        try:
            result = await function()
        except Exception as error:  # noqa: BLE001 - a function may fail in any way: that is what is tested
            result = error
        finally:
            SENDING.reset(token)
        self.settle()
        return result

    def settle(self) -> None:
        if not self.begun:
            return
        row, fence = self.row, self.row.effect.fence
        match self.verdict:
            case None:
                row.ask(Prove(who=self.who, result=Payload(data=b"1"), evidence=self.evidence))
            case Refused() as no:
                row.ask(Refuse(who=self.who, fence=fence, error=Failure("Refused", str(no)), stored=no.stored))
            case NotSent() as unsent:
                row.ask(Unsend(who=self.who, fence=fence, reason=str(unsent)))
            case Unclear() as unclear:
                row.ask(Doubt(who=self.who, fence=fence, reason=str(unclear), repeats=unclear.repeats))
