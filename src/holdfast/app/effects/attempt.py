"""One attempt of an effect, and what is said of it: the worker's side of sdk/sending.py.

Laws of this file:
- Bytes leave only after the ledger has answered that it knows of the intent.
- The window is looked at again, by a clock that cannot be set, right before the first byte.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.app.effects.ledger_session import LEASE, LedgerSession
from holdfast.app.executor.invocation import origin
from holdfast.core.asks import PROVIDER_KEY, Ask, Begin, Send, Terms
from holdfast.core.commands import ExecuteStep, StepResult
from holdfast.core.effects import Effect
from holdfast.core.retry import MICROS, Failure
from holdfast.ports.clock import Clock
from holdfast.ports.ledger import Answer
from holdfast.ports.unavailable import Unavailable
from holdfast.sdk import failures
from holdfast.sdk.effects import Effect as Definition
from holdfast.sdk.providers import Profile
from holdfast.sdk.verdicts import NotSent, Unclear, Verdict

Tell = Callable[[StepResult], None]
"""Tell the run what became of an attempt after it had come to an end for its worker."""
LONGEST_WAIT = 366 * 86_400.0


class Call:
    """One attempt: its task, the author's function with its arguments, and what went wrong, if anything did.

    `quarantined_input`: the encoded arguments, if a child process executes it. `condemned`: why it is not sent.
    """

    def __init__(
        self,
        task: ExecuteStep,
        definition: Definition[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        late: Tell,
        *,
        quarantined_input: bytes | None = None,
    ) -> None:
        self.task = task
        self.definition = definition
        self.args = args
        self.kwargs = kwargs
        self.late = late
        self.quarantined_input = quarantined_input
        self.error: BaseException | None = None
        self.condemned = ""
        self.ran = False
        self.not_before: int | None = None

    @property
    def effect_id(self) -> str:
        return self.task.key or ""

    @property
    def terms(self) -> Terms:
        return self.definition.terms

    def fails(self, error: Exception) -> None:
        self.error = origin(error)

    def waits(self, span: float | None, clock: Clock) -> None:
        """Let a further attempt wait for so many seconds, as the provider asked; what is no time span is none."""
        if isinstance(span, (int, float)) and 0 <= span <= LONGEST_WAIT:
            self.not_before = clock.now() + int(span * MICROS)


def told(task: ExecuteStep, effect: Effect) -> StepResult:
    """Say what the ledger holds of an effect that is settled or parked."""
    return StepResult(
        run_id=task.run_id,
        incarnation=task.incarnation,
        step_id=task.step_id,
        attempt=task.attempt,
        result=effect.result,
        error=effect.error,
        ledger=effect.state,
        reason=effect.reason,
    )


def unsettled(task: ExecuteStep, error: Failure, state: str, not_before: int | None = None) -> StepResult:
    """Say that an attempt failed and left the effect unsettled."""
    return StepResult(
        run_id=task.run_id,
        incarnation=task.incarnation,
        step_id=task.step_id,
        attempt=task.attempt,
        error=msgspec.structs.replace(error, step=task.step_id),
        ledger=state,
        not_before=not_before,
    )


class Deadline(msgspec.Struct, frozen=True):
    """The instant of the monotonic clock from which on an effect must not be sent; None: there is none."""

    at: float | None

    def over(self, clock: Clock) -> bool:
        return self.at is not None and clock.monotonic() >= self.at


def deadline(answer: Answer, before: float) -> Deadline:
    """Put the end of an effect's window on the monotonic clock; `before` is its time when the ledger was asked."""
    until = None if answer.effect is None else answer.effect.window_until
    return Deadline(None if until is None else before + (until - answer.now) / MICROS)


class Attempt:
    """Fulfils `sdk.sending.Sending`. `effect` is the row as this attempt found or claimed it."""

    def __init__(
        self, session: LedgerSession, clock: Clock, effect: Effect, terms: Terms, number: int, profile: Profile
    ) -> None:
        self.key = effect.key
        self.guard = terms.guard
        self.profile = profile
        self.loop = asyncio.get_running_loop()
        self.effect = effect
        self.intended = False
        self.again = False
        self.verdict: Verdict = None
        self.evidence = ""
        self._ledger = session
        self._clock = clock
        self._terms = terms
        self._number = number
        self._deadline = Deadline(None)
        self._request = b""

    async def intend(self, request: bytes) -> bytes:
        if self.intended:
            return self._again(request)
        claimed = self._ledger.holds(self.effect.effect_id)
        ask: Ask = (
            Send(who=self._ledger.process, fence=self.effect.fence, lease=LEASE, request=request)
            if claimed
            else Begin(
                who=self._ledger.process,
                terms=self._terms,
                attempt=self._number,
                lease=LEASE,
                request=None if self.effect.request is not None else request,
            )
        )
        before = self._clock.monotonic()
        try:
            answer = await self._ledger.ask(self.effect.effect_id, ask)
        except Unavailable as away:
            raise NotSent(f"the ledger did not answer: {away}") from away
        if answer.unmoved or answer.effect is None:
            raise NotSent(f"the ledger does not let this attempt send ({answer.unmoved})")
        self.effect = answer.effect
        self.intended = True
        self._ledger.hold(self.effect.effect_id, self.effect.fence)
        self._deadline = deadline(answer, before)
        self._request = self.effect.request or request
        return self._checked()

    def _again(self, request: bytes) -> bytes:
        """A client library sends the same request once more, by itself."""
        if self.guard != PROVIDER_KEY:
            raise Unclear(f"the client sends again under guard {self.guard!r}; switch its own retries off")
        if request != self._request and self.effect.request is None:
            raise Unclear("one effect sends one request; make a second effect of the other")
        self.again = True
        return self._checked()

    def _checked(self) -> bytes:
        if self._deadline.over(self._clock):
            raise NotSent("the provider's window for this key is over")
        return self._request

    def heard(self, verdict: Verdict, evidence: str = "") -> None:
        self.verdict = verdict
        self.evidence = evidence

    def meaning_of(self, error: Exception) -> Exception:
        """Tell what an exception of the function means: what was heard counts, and a success does not vanish again."""
        if self.verdict is None and self.evidence and isinstance(error, NotSent):
            return Unclear(f"the provider answered with a success ({self.evidence}), then: {describe(error)}")
        return self.verdict or error


def describe(error: Exception) -> str:
    """Name an error for the ledger and the log."""
    return failures.describe(origin(error))
