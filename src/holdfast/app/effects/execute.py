"""Carrying an effect from its plan to a verdict: what a worker does with a task of one.

Laws of this file:
- The intent is committed before the function runs (`http=`: the first byte). If its answer is lost, nothing is sent.
- What the function raises is unclear, unless it says `Refused` or `NotSent`, or its transport heard the answer.
- A proof is recorded whatever else happens, and its result is told only from the ledger.
- Nothing is sent again but what `core/effects.py` allows.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from holdfast.app.deduplication import Duplicates
from holdfast.app.effects.attempt import Attempt, Call, Tell, deadline, describe, told, unsettled
from holdfast.app.effects.evidence import Evidence
from holdfast.app.effects.functions import Functions
from holdfast.app.effects.ledger_session import LEASE, LedgerSession
from holdfast.app.effects.transaction import Transactions
from holdfast.app.executor.invocation import Invoker, Withdrawn
from holdfast.app.executor.quarantine import ChildDied, Quarantine, Reported, can_move, told_of
from holdfast.core import effects as ledger
from holdfast.core.asks import (
    LOOKUP,
    PROVIDER_KEY,
    TRANSACTION,
    Absent,
    Ask,
    Begin,
    Claim,
    Doubt,
    Expire,
    Park,
    Prove,
    Reconcile,
    Refuse,
    Release,
    Send,
    Unasked,
    Unsend,
)
from holdfast.core.commands import ExecuteStep, StepResult
from holdfast.core.effects import Effect
from holdfast.core.retry import MICROS
from holdfast.core.run import WORKER_DIED
from holdfast.ports.blobs import Blobs
from holdfast.ports.clock import Clock
from holdfast.ports.databases import Databases
from holdfast.ports.host import Host
from holdfast.ports.ledger import Answer, Ledger
from holdfast.ports.unavailable import Unavailable
from holdfast.sdk.attempts import failed_attempt
from holdfast.sdk.effects import Effect as Definition
from holdfast.sdk.failures import failure_of
from holdfast.sdk.providers import Profile
from holdfast.sdk.sending import SENDING, NotSent, Refused, Unclear
from holdfast.sdk.values import UnfitValue

log = logging.getLogger(__name__)

RETURNED = "its function has returned"
ENDED = "its child process has ended"


class EffectExecution:
    """Executes attempts of effects."""

    def __init__(
        self,
        *,
        session: LedgerSession,
        clock: Clock,
        functions: Functions,
        evidence: Evidence,
        transactions: Transactions,
    ) -> None:
        self._ledger = session
        self._clock = clock
        self._functions = functions
        self._evidence = evidence
        self._transactions = transactions
        self._carried: dict[str, asyncio.Future[None]] = {}
        self.invoker = functions.invoker
        self.quarantine = functions.quarantine
        self.duplicates = Duplicates()

    @property
    def idle(self) -> bool:
        """Tell whether no function is left running of an attempt that has timed out."""
        return self._functions.idle

    async def run(self, task: ExecuteStep, definition: Definition[..., Any], late: Tell) -> StepResult | None:
        """Bring an effect as far as one attempt can; None: another process has it, and will tell.

        `late` hears of a proof that a thread brings after its time.

        Raises:
            Withdrawn: this process stops before the function began, and the ledger knows that nothing was sent.
        """
        call = await self._functions.call(task, definition, late)
        if isinstance(call, StepResult):
            return call
        call.condemned = self.quarantine.condemnation(task, definition)
        # One attempt of an effect at a time in this process: what one begins the other must not take back.
        while (earlier := self._carried.get(call.effect_id)) is not None:
            await asyncio.wait([earlier])
        ended = self._carried[call.effect_id] = asyncio.get_running_loop().create_future()
        try:
            return await self._carry(call, task, definition)
        except Withdrawn:
            raise
        except (
            asyncio.CancelledError
        ) as stray:  # in the middle of asking the ledger: the next attempt asks how it stands
            self.invoker.take_back(stray)
            return unsettled(task, failure_of(stray, task.step_id), "")
        except Exception as error:
            log.exception("an attempt of %s of run %s failed in the engine", task.step_id, task.run_id)
            return unsettled(task, failure_of(error, task.step_id), "")
        finally:
            del self._carried[call.effect_id]
            ended.set_result(None)

    async def _carry(self, call: Call, task: ExecuteStep, definition: Definition[..., Any]) -> StepResult | None:
        answer = await self._first(call)
        while (effect := answer.effect) is not None:
            if call.error is not None:
                return self._conclude(call, effect)
            if effect.state == ledger.IN_DOUBT and effect.terms.guard != definition.terms.guard:
                answer = await self._park(call, _guard_changed(effect, definition))
                continue
            match ledger.course(effect, answer.now):
                case ledger.SEND | ledger.ASK if (
                    call.condemned and not self._may_ask(call, effect) and effect.state != ledger.CLAIMED
                ):
                    answer = await self._condemn(call, effect)
                case ledger.TELL:
                    if not call.ran:
                        self.duplicates.by_ledger += 1
                    return told(task, effect)
                case ledger.PARK:
                    answer = await self._park(call, _why_parked(effect))
                case ledger.EXPIRE:
                    answer = await self._ask(call, Expire(who=self._ledger.process))
                case ledger.WAIT:
                    waited = await self._wait(call, answer, effect)
                    if waited is None:
                        return None
                    answer = waited
                case ledger.ASK:
                    answer = await self._reconcile(call, effect)
                case _:
                    answer = await self._send(call, effect)
        return unsettled(task, _unknown(task), ledger.PLANNED)

    async def _first(self, call: Call) -> Answer:
        """Begin at once what is most likely just planned; of everything else ask first how it stands."""
        plain = call.definition.provider is None and call.terms.guard != TRANSACTION
        if plain and call.task.attempt == 1 and not call.condemned:
            return await self._intend(call, self._begin(call))
        return await self._ledger.look(call.effect_id)

    async def _ask(self, call: Call, ask: Ask) -> Answer:
        return await self._ledger.insist(call.effect_id, ask)

    async def _park(self, call: Call, reason: str) -> Answer:
        return await self._ask(call, Park(who=self._ledger.process, reason=reason))

    def _conclude(self, call: Call, effect: Effect) -> StepResult:
        """Say what an attempt came to that did not succeed."""
        if effect.settled or effect.state == ledger.PARKED:
            return told(call.task, effect)
        if isinstance(call.error, Withdrawn):
            raise call.error
        not_before = call.not_before
        if effect.terms.guard == LOOKUP and effect.state == ledger.IN_DOUBT:
            not_before = max(not_before or 0, effect.horizon)
        error = call.error or Unclear("unclear")
        if isinstance(error, Reported):
            return unsettled(call.task, error.failure, effect.state, not_before)
        # What returned a value that cannot be told will do so again.
        failure = failed_attempt(error, call.task.step_id, retryable=not isinstance(error, UnfitValue))
        return unsettled(call.task, failure, effect.state, not_before)

    # -- processes died of it

    def _may_ask(self, call: Call, effect: Effect) -> bool:
        """Tell whether the provider may be asked, apart, though nothing is to be sent."""
        return effect.state == ledger.IN_DOUBT and effect.terms.guard == LOOKUP and can_move(call.definition)

    async def _condemn(self, call: Call, effect: Effect, fence: int | None = None) -> Answer:
        """Park what is not to be sent; a person who takes it up again gets another try, apart."""
        reason = call.condemned or f"{WORKER_DIED}: {call.error}; {_why_parked(effect)}"
        answer = await self._ask(call, Park(who=self._ledger.process, reason=reason, fence=fence))
        await self.quarantine.pardon(call.task, everything=not can_move(call.definition))
        return answer

    # -- somebody else has it

    async def _wait(self, call: Call, answer: Answer, effect: Effect) -> Answer | None:
        """Wait for a holder's end; None if it lives on, or is this very process, and will tell the run.

        The run listens to its latest attempt: what an earlier one comes to has to be told in its place.
        """
        if self._ledger.holds(effect.effect_id):
            return None
        gone = await self._evidence.of(effect.owner)
        if gone:
            return await self._ask(call, Expire(who=self._ledger.process, sender_gone=gone, version=effect.version))
        await self._clock.sleep(max(0.0, (effect.lease_until - answer.now) / MICROS) + 0.05)
        later = await self._ledger.look(call.effect_id)
        held = later.effect
        lives = held is not None and held.fence == effect.fence and held.lease_until > later.now
        tells = held is not None and held.state in ledger.HELD and held.attempt >= call.task.attempt
        return None if lives and tells else later

    # -- sending

    async def _send(self, call: Call, effect: Effect) -> Answer:
        """Send what is planned, under the guard that the code says now, or what is in doubt, under the guard it has."""
        if effect.state == ledger.CLAIMED:
            return await self._ask(call, Expire(who=self._ledger.process))  # its claimer let it lapse
        if call.terms.guard != PROVIDER_KEY and self._functions.runs(call.effect_id):
            # Whoever had it sent anew did not know of a thread that outlived its timeout: what it brings comes first.
            await self._functions.returned(call.effect_id)
            return await self._ledger.look(call.effect_id)
        if call.terms.guard == TRANSACTION:
            claimed = await self._ask(call, self._claim(call))
            return claimed if claimed.unmoved else await self._transactions.run(call, claimed)
        if call.definition.provider is not None:
            return await self._send_by_transport(call, effect, call.definition.provider)
        return await self._intend(call, self._begin(call))

    def _begin(self, call: Call) -> Begin:
        return Begin(who=self._ledger.process, terms=call.terms, attempt=call.task.attempt, lease=LEASE)

    def _claim(self, call: Call) -> Claim:
        return Claim(who=self._ledger.process, terms=call.terms, attempt=call.task.attempt, lease=LEASE)

    async def _intend(self, call: Call, ask: Begin | Send) -> Answer:
        """Commit the intent, then run the function."""
        before = self._clock.monotonic()
        try:
            answer = await self._ledger.ask(call.effect_id, ask)
        except Unavailable as away:
            return await self._unsent(call, NotSent(f"the ledger did not answer, so nothing was sent: {away}"))
        effect = answer.effect
        if answer.unmoved or effect is None:
            return answer
        window = deadline(answer, before)

        def still_open() -> None:
            if window.over(self._clock):
                raise NotSent("the provider's window for this key is over")

        return await self._run(call, effect, still_open)

    async def _unsent(self, call: Call, error: NotSent) -> Answer:
        """An answer was lost: if the intent was committed all the same, take it back; nothing was sent."""
        call.fails(error)
        answer = await self._ledger.look(call.effect_id)
        effect = answer.effect
        ours = effect is not None and effect.owner == self._ledger.process and effect.attempt == call.task.attempt
        if effect is None or not ours or effect.state != ledger.INFLIGHT or self._ledger.holds(call.effect_id):
            return answer
        return await self._ask(
            call, Unsend(who=self._ledger.process, fence=effect.fence, reason=failure_of(error).message)
        )

    async def _run(self, call: Call, effect: Effect, starts: Callable[[], None]) -> Answer:
        self._ledger.hold(effect.effect_id, effect.fence)
        try:
            result = await self._functions.run(call, starts)
        except Exception as error:  # noqa: BLE001 - whatever an author's effect raises says something about it
            return await self._after(call, effect, error)
        finally:
            self._ledger.let_go(effect.effect_id)
        return await self._ask(call, Prove(who=self._ledger.process, result=result, evidence="returned"))

    async def _after(self, call: Call, effect: Effect, error: Exception, *, again: bool = False) -> Answer:
        """Tell the ledger what an exception means, once the intent was committed; `again`: it was sent twice."""
        call.fails(error)
        process, fence = self._ledger.process, effect.fence
        match error:
            case Refused():
                failure = failure_of(error, call.task.step_id, retryable=False)
                refusal = Refuse(who=process, fence=fence, error=failure, again=again, stored=error.stored is True)
                return await self._ask(call, refusal)
            case NotSent():
                call.waits(error.not_before, self._clock)
                return await self._ask(
                    call, Unsend(who=process, fence=fence, reason=failure_of(error).message, again=again)
                )
            case _:
                gone = "" if self._functions.runs(call.effect_id) else RETURNED
                gone = gone if call.quarantined_input is None else ENDED
                repeats = isinstance(error, Unclear) and error.repeats is True
                if isinstance(error, Unclear):
                    call.waits(error.not_before, self._clock)
                doubt = Doubt(who=process, fence=fence, reason=told_of(error), sender_gone=gone, repeats=repeats)
                answer = await self._ask(call, doubt)
        after = answer.effect
        if after is not None and ledger.course(after, answer.now) == ledger.PARK:
            if isinstance(error, ChildDied):
                return await self._condemn(call, after)
            return await self._park(call, _why_parked(after))
        return answer

    async def _send_by_transport(self, call: Call, effect: Effect, provider: Profile) -> Answer:
        """Run a function whose transport commits the intent at the first byte."""
        if effect.state != ledger.IN_DOUBT:
            claimed = await self._ask(call, self._claim(call))
            if claimed.unmoved or claimed.effect is None:
                return claimed
            effect = claimed.effect
            self._ledger.hold(effect.effect_id, effect.fence)
        return await self._run_with_transport(call, effect, provider)

    async def _run_with_transport(self, call: Call, effect: Effect, provider: Profile) -> Answer:
        attempt = Attempt(self._ledger, self._clock, effect, call.terms, call.task.attempt, provider)
        entered = SENDING.set(attempt)
        try:
            result = await self._functions.run(call)
            if attempt.verdict is not None:  # the author's code went on after it all the same
                return await self._unproven(call, attempt, attempt.verdict)
        except Exception as error:  # noqa: BLE001 - as in _run
            return await self._unproven(call, attempt, attempt.meaning_of(error))
        finally:
            SENDING.reset(entered)
            self._ledger.let_go(effect.effect_id)
        evidence = attempt.evidence or "returned"
        return await self._ask(call, Prove(who=self._ledger.process, result=result, evidence=evidence))

    async def _unproven(self, call: Call, attempt: Attempt, said: Exception) -> Answer:
        if attempt.intended:
            return await self._after(call, attempt.effect, said, again=attempt.again)
        if isinstance(said, NotSent) or not self._ledger.holds(call.effect_id):
            return await self._unsent_by_transport(call, attempt, said)
        return await self._before_sending(call, attempt.effect, said)

    async def _before_sending(self, call: Call, effect: Effect, error: Exception) -> Answer:
        """An ordinary failure: nothing was sent, and the claim is given back."""
        call.fails(error)
        process, fence = self._ledger.process, effect.fence
        if isinstance(error, Refused):
            failure = failure_of(error, call.task.step_id, retryable=False)
            return await self._ask(call, Refuse(who=process, fence=fence, error=failure))
        return await self._ask(call, Release(who=process, fence=fence, reason=describe(error)))

    async def _unsent_by_transport(self, call: Call, attempt: Attempt, error: Exception) -> Answer:
        self._ledger.let_go(call.effect_id)
        answer = await self._unsent(call, error if isinstance(error, NotSent) else NotSent(describe(error)))
        call.fails(error)
        effect = answer.effect
        if effect is not None and effect.state == ledger.CLAIMED and effect.fence == attempt.effect.fence:
            return await self._before_sending(call, effect, error)
        return answer

    # -- asking

    async def _reconcile(self, call: Call, effect: Effect) -> Answer:
        """Ask the provider by our reference, and draw the conclusion."""
        gone = effect.sender_gone or await self._sender_gone(effect)
        ask = Reconcile(
            who=self._ledger.process,
            attempt=call.task.attempt,
            lease=LEASE,
            sender_gone=gone,
            version=effect.version,
        )
        answer = await self._ask(call, ask)
        effect = answer.effect or effect
        if answer.unmoved:
            return answer
        self._ledger.hold(effect.effect_id, effect.fence)
        try:
            found = await self._functions.find(call)
        except ChildDied as died:
            call.fails(died)
            return await self._condemn(call, effect, effect.fence)
        except Exception as error:  # noqa: BLE001 - a look-up that fails says nothing about the effect
            call.fails(error)
            return await self._ask(call, Unasked(who=self._ledger.process, fence=effect.fence, reason=describe(error)))
        finally:
            self._ledger.let_go(effect.effect_id)
        if found is not None:
            return await self._ask(call, Prove(who=self._ledger.process, result=found, evidence="found by its look-up"))
        answer = await self._ask(call, Absent(who=self._ledger.process, fence=effect.fence))
        if answer.unmoved == ledger.SEND_ANEW:
            return await self._send_anew(call, effect)
        if answer.effect is not None and answer.effect.state == ledger.IN_DOUBT:
            call.fails(Unclear("the provider knows nothing yet, and a request may still be on its way"))
        return answer

    async def _send_anew(self, call: Call, effect: Effect) -> Answer:
        if call.condemned:
            return await self._condemn(call, effect, effect.fence)
        if call.definition.provider is not None:
            self._ledger.hold(effect.effect_id, effect.fence)
            return await self._run_with_transport(call, effect, call.definition.provider)
        return await self._intend(call, Send(who=self._ledger.process, fence=effect.fence, lease=LEASE))

    async def _sender_gone(self, effect: Effect) -> str:
        """Say how it is known that whoever sent last can send no more."""
        if effect.sender == self._ledger.process:
            return "" if self._functions.runs(effect.effect_id) else RETURNED
        return await self._evidence.of(effect.sender)


def carrier(
    *,
    ledger_: Ledger,
    store: Blobs,
    clock: Clock,
    host: Host,
    databases: Databases,
    process: str,
    invoker: Invoker,
    quarantine: Quarantine | None = None,
) -> EffectExecution:
    """Put together what carries the effects of one process."""
    session = LedgerSession(ledger_, clock, process)
    functions = Functions(store, session, invoker, quarantine or Quarantine(None))
    return EffectExecution(
        session=session,
        clock=clock,
        functions=functions,
        evidence=Evidence(ledger_, host),
        transactions=Transactions(databases, session, functions),
    )


def _why_parked(effect: Effect) -> str:
    if effect.repeats:
        return "the provider stores its unclear answer under the key: sending again tells nothing"
    if effect.terms.guard == PROVIDER_KEY:
        return "the window in which its key may be sent again is over"
    return f"whether it happened is unclear ({effect.reason or 'no answer'}), and its guard allows one try"


def _guard_changed(effect: Effect, definition: Definition[..., Any]) -> str:
    return (
        f"it was sent under guard {effect.terms.guard!r}, and the code says {definition.terms.guard!r} by now: "
        "deploy the old code, or decide"
    )


def _unknown(task: ExecuteStep) -> Any:
    return failure_of(RuntimeError(f"the ledger has no effect {task.key} of run {task.run_id}"), task.step_id)
