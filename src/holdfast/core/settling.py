"""One open step: how it comes to be settled.

Laws of this file:
- A step fails when its schedule has no further attempt. A failure counts for the current attempt only.
- A plain step is parked by the word of its worker, whose child process died of it, or because its attempts have run
  out and its author wants a person to look at it; a resumed run tries it again.
- An effect settles by the ledger's word alone: withdrawing it, running out of attempts and a person's verdict are
  requests; what the ledger makes of them comes back as a command.
"""

from collections.abc import Mapping, Sequence

import msgspec

from holdfast.core import effects as ledger
from holdfast.core import events as e
from holdfast.core.commands import FailStep, HearLedger, ResolveEffect, ScheduleStep
from holdfast.core.payload import NOTHING, Payload
from holdfast.core.retry import MICROS, PARK, Failure, is_wanted_again, next_attempt_at
from holdfast.core.sharing import ordered

UNWANTED = Failure("Unwanted", "nobody wants the effect any more, and a person says that it did not happen")
WORKER_DIED = "worker_died"
"""Why a plain step is parked of which workers died."""
ATTEMPTS_EXHAUSTED = "attempts_exhausted"
"""Why a plain step is parked whose attempts have run out."""
COMPENSATION_FAILED = "compensation_failed"
"""Why a run waits for a person whose code could not undo what it did."""
PERSON = "person"
"""The kind of a step that no worker executes: it waits for a person from the beginning, and a resume settles it."""
UNEXPLAINED = Failure("Failed", "the effect failed, and nobody said why")


_TOLD = msgspec.json.Decoder(str)
"""Reads the one argument of a step that is a person's."""


class OpenStep(msgspec.Struct, frozen=True):
    """A step that is not settled: its request, its current attempt, and when that is due if it waits.

    Also why it is parked; of an effect, whether the code still wants it, whether attempts have run out, and whether a
    person's verdict is with the ledger.
    """

    scheduled: e.StepScheduled
    attempt: int = 1
    due_at: int | None = None
    withdrawn: bool = False
    exhausted: Failure | None = None
    parked: str | None = None
    resolving: bool = False

    @property
    def is_effect(self) -> bool:
        return self.scheduled.guard is not None

    @property
    def awaits_a_person(self) -> bool:
        """Tell whether no further attempt comes by itself, for a person decides, or has decided."""
        return self.due_at is None and (self.parked is not None or self.resolving)


def after_failure(step: OpenStep, command: FailStep, identity: str) -> tuple[e.Event, ...]:
    """Retry by the recorded schedule, or settle the step as failed; an effect fails by the ledger's word alone."""
    failed = e.StepFailed(step_id=command.step_id, attempt=command.attempt, error=command.error)
    if command.ledger == ledger.FAILED:
        return (failed,)
    if step.attempt != command.attempt or step.due_at is not None or step.parked is not None:
        return ()  # a late failure says nothing about the attempt that runs
    due_at = next_attempt_at(
        step.scheduled.retry,
        step.attempt,
        command.error,
        identity=identity,
        at=command.at,
        deadline=step.scheduled.deadline,
    )
    unwanted = step.withdrawn and command.ledger == ledger.PLANNED
    if due_at is not None and not unwanted:
        due_at = max(due_at, command.not_before or 0)
        return (
            e.StepRetried(step_id=command.step_id, attempt=command.attempt + 1, due_at=due_at, error=command.error),
        )
    if step.is_effect:
        return (e.StepExhausted(step_id=command.step_id, attempt=command.attempt, error=command.error),)
    if step.scheduled.retry.on_exhausted == PARK and is_wanted_again(step.scheduled.retry, command.error):
        return (e.StepParked(step_id=command.step_id, reason=exhausted(command)),)
    return (failed,)


def called_step(command: ScheduleStep) -> tuple[e.Event, ...]:
    """Record the call of a step; one that is a person's is parked at once."""
    return (scheduled(command),) if command.kind != PERSON else (scheduled(command), awaiting(command))


def scheduled(command: ScheduleStep) -> e.StepScheduled:
    """Record a step with all that its execution needs."""
    total = command.total_timeout
    return e.StepScheduled(
        step_id=command.step_id,
        name=command.name,
        kind=command.kind,
        input=command.input,
        input_hash=command.input_hash,
        queue=command.queue,
        retry=command.retry,
        timeout=command.timeout,
        deadline=None if total is None else command.at + int(total * MICROS),
        heartbeat=command.heartbeat,
        guard=command.guard,
        key=command.key,
    )


def awaiting(asked: ScheduleStep) -> e.StepParked:
    """Park a step that is a person's; its input says what there is to look at."""
    return e.StepParked(step_id=asked.step_id, reason=f"{COMPENSATION_FAILED}: {_TOLD.decode(asked.input.data)}")


def word_of(parked: Sequence[OpenStep]) -> str:
    """Say in a word why a run stands that waits for these steps, which a resume tries again."""
    reasons = [step.parked or "" for step in parked]
    words = (WORKER_DIED, COMPENSATION_FAILED, ATTEMPTS_EXHAUSTED)
    return next((word for word in words if any(reason.startswith(word) for reason in reasons)), WORKER_DIED)


def taken_up(step: OpenStep) -> e.Event:
    """Go on with a step that is parked and no effect, for a person says so."""
    step_id = step.scheduled.step_id
    if step.scheduled.kind == PERSON:
        return e.StepCompleted(step_id=step_id, attempt=step.attempt, result=Payload(data=b"null"))
    return e.StepAttempted(step_id=step_id, attempt=step.attempt + 1)


def exhausted(command: FailStep) -> str:
    """Say why a step waits for a person that has no attempt left."""
    error = command.error
    return f"{ATTEMPTS_EXHAUSTED}: attempt {command.attempt} was the last; it failed with {error.type}: {error.message}"


def after_verdict(step: OpenStep, command: HearLedger) -> tuple[e.Event, ...]:
    """Settle, park or take up an effect again, as the ledger says."""
    step_id = command.step_id
    match command.state:
        case ledger.SUCCEEDED:
            return (e.StepCompleted(step_id=step_id, attempt=step.attempt, result=command.result or NOTHING),)
        case ledger.FAILED:
            error = command.error or step.exhausted or UNEXPLAINED
            return (e.StepFailed(step_id=step_id, attempt=step.attempt, error=error),)
        case ledger.CANCELLED if step.exhausted is not None and not step.withdrawn:
            return (e.StepFailed(step_id=step_id, attempt=step.attempt, error=step.exhausted),)
        case ledger.CANCELLED:
            return (e.StepCancelled(step_id=step_id),)
        case ledger.PARKED if not step.is_effect and step.due_at is not None:
            return ()  # another attempt comes
        case ledger.PARKED if step.parked is None and command.attempt in {None, step.attempt}:
            return (e.StepParked(step_id=step_id, reason=command.reason),)
        case ledger.PLANNED if step.awaits_a_person and command.attempt in {None, step.attempt}:
            # A person said: again. It may be known here before the word that the effect is parked.
            if step.withdrawn:
                return (e.StepExhausted(step_id=step_id, attempt=step.attempt, error=UNWANTED),)
            return (e.StepAttempted(step_id=step_id, attempt=step.attempt + 1),)
        case _:
            return ()  # it is on its way to a verdict


def abandoned(step: OpenStep | None, step_id: str) -> tuple[e.Event, ...]:
    """Let go of a step; what was an effect when it was scheduled goes on to its verdict, whatever the code says now."""
    if step is None or step.withdrawn:
        return ()
    return (e.StepWithdrawn(step_id=step_id),) if step.is_effect else (e.StepAbandoned(step_id=step_id),)


def resolution(command: ResolveEffect) -> e.Event:
    """Record that a person decided; whether it still counts, the ledger says."""
    return e.ResolutionRequested(
        step_id=command.step_id,
        version=command.version,
        verdict=command.verdict,
        by=command.by,
        reason=command.reason,
        result=command.result,
        error=command.error,
    )


def effects_of(steps: Mapping[str, OpenStep]) -> list[str]:
    """Name the open effects, in the order they were asked for."""
    return [step_id for step_id in ordered(steps) if steps[step_id].is_effect]
