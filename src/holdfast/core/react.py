"""What follows from an event of a run: the third of the three pure functions (the others stand in run.py).

Laws of this file:
- `react` is asked with the state that the event finds. What it gives depends on nothing else, so that a successor makes
  the same messages again, with the same identities.
- An attempt that is open is asked after; one that is settled, or whose run has ended, is not. The same for timers.
- A parked run has no timers outside: they would stay due, and stand before those of all other runs. Its state knows
  them, and resuming sets them again. (A run that waits for a parked effect is not parked: its timers go on.)
- An ended run's effects go on to their verdict: the ledger is asked to close each, and each is asked after.
"""

from collections.abc import Iterator
from typing import Final

from holdfast.core import events as e
from holdfast.core.asks import Ask, Cancel, Close, Expire, Resolve
from holdfast.core.behind import TURN
from holdfast.core.children import OpenChild, end_of, owing, reply, start_of, word_of_end, word_of_start
from holdfast.core.commands import (
    AttemptStep,
    CloseChild,
    Command,
    ContinueTurn,
    ExecuteStep,
    FireTimer,
    HearChild,
    PurgeRun,
    ResolveEffect,
    RunOutcome,
    StartRun,
)
from holdfast.core.messages import (
    AskLedger,
    Bury,
    ClearTimer,
    CloseAttempt,
    Continue,
    ExpectAnswer,
    Message,
    PlanEffect,
    PutAside,
    SetTimer,
    TakeSignal,
    WithholdAttempt,
)
from holdfast.core.parent import CANCEL
from holdfast.core.purging import input_hash
from holdfast.core.run import Run
from holdfast.core.settling import PERSON, OpenStep, effects_of
from holdfast.core.sharing import ordered
from holdfast.core.status import STATUS_AFTER

RETRY: Final = "retry:"
"""Prefix of the timers that wait for a further attempt; the author's own are named by the code."""
THE_PROCESS: Final = ""
"""Who asks the ledger, where it is the process that carries the question."""


def react(run: Run, event: e.Event) -> tuple[Message, ...]:
    """Tell what the outside must hear of `event`; `run` is the state before it."""
    # Every run comes by these: `type() is` costs a fortieth of a `case` that fails (docs/performance.md).
    if type(event) is e.StepScheduled:
        if event.guard is None:
            return (task(run, event),) if event.kind != PERSON else ()
        return (PlanEffect(event), task(run, event))
    if type(event) is e.StepCompleted:
        return settled(run, event.step_id)
    if type(event) is e.RunStarted:
        parent = event.parent
        if parent is None or not parent.hears_start or run.incarnation:
            return ()
        return (word_of_start(run, parent),)
    if type(event) is e.RunCompleted:
        return tuple(conclude(run, event))
    match event:
        case e.RunFailed() | e.RunCancelled() | e.RunTerminated():
            return tuple(conclude(run, event))
        case e.RunContinued():
            return tuple(give_up(run))
        case e.StepFailed(step_id=step_id) | e.StepAbandoned(step_id=step_id) | e.StepCancelled(step_id=step_id):
            return settled(run, step_id)
        case e.StepAttempted(step_id=step_id, attempt=attempt):
            again = task(run, run.open_steps[step_id].scheduled, attempt)
            return (ClearTimer(retry_timer(step_id, attempt)), again)
        case e.StepRetried(step_id=step_id, attempt=attempt, due_at=due_at):
            closed = CloseAttempt(step_id)
            return (closed, SetTimer(retry_timer(step_id, attempt), due_at)) if run.parked is None else (closed,)
        case e.TimerStarted(timer_id=timer_id, due_at=due_at):
            return (SetTimer(timer_id, due_at),)
        case e.TimerFired(timer_id=timer_id) | e.TimerCancelled(timer_id=timer_id):
            return (ClearTimer(timer_id),)
        case e.SignalReceived(message_id=message_id, carried=carried):
            return () if carried else (TakeSignal(message_id),)
        case e.SignalRefused():
            return (PutAside(event),)
        case e.StepWithdrawn(step_id=step_id):
            return (WithholdAttempt(step_id), *ask_ledger(run.open_steps[step_id], Cancel(who=THE_PROCESS)))
        case e.StepExhausted(step_id=step_id, error=error):
            return ask_ledger(run.open_steps[step_id], Close(who=THE_PROCESS, reason=no_attempts_left(error.message)))
        case e.ResolutionRequested(step_id=step_id):
            return ask_ledger(run.open_steps[step_id], resolution(event))
        case e.RunParked():
            cleared = tuple(ClearTimer(timer_id) for timer_id, _ in waits(run))
            return (*cleared, ClearTimer(TURN)) if run.behind else cleared
        case e.RunResumed():
            return tuple(SetTimer(timer_id, due_at) for timer_id, due_at in waits(run))
        case e.TurnCut():
            return (Continue(run.seq + 1),)
        case e.TurnEnded():
            return (ClearTimer(TURN),)
        case e.ChildScheduled():
            return (start_of(run, OpenChild(event, run.seq + 1)),)
        case e.ChildStarted(step_id=step_id):
            child = run.children.get(step_id)
            owes = child is not None and child.place(run.run_id, run.incarnation).hears_end
            return () if owes else (CloseAttempt(step_id),)
        case (
            e.ChildCompleted(step_id=step_id)
            | e.ChildFailed(step_id=step_id)
            | e.ChildCancelled(step_id=step_id)
            | e.ChildTerminated(step_id=step_id)
        ):
            return (CloseAttempt(step_id),)
        case e.ChildCancelRequested(step_id=step_id):
            return (end_of(run, run.children[step_id], CANCEL, seq=run.seq + 1, number=0),)
        case _:
            return ()


def settled(run: Run, step_id: str) -> tuple[Message, ...]:
    """Expect nothing more of a step."""
    step = run.open_steps.get(step_id)
    if step is None or step.due_at is None:
        return (CloseAttempt(step_id),)
    return (CloseAttempt(step_id), ClearTimer(retry_timer(step_id, step.attempt)))


def conclude(run: Run, event: e.Outcome) -> Iterator[Message]:
    """Close what an ended run leaves open, and tell its consumers; the times are filled in by who knows them."""
    yield from give_up(run)
    for step_id in effects_of(run.open_steps):
        step = run.open_steps[step_id]
        yield WithholdAttempt(step_id)
        yield from ask_ledger(step, Cancel(who=THE_PROCESS))
        if step.due_at is not None:
            # It waited for a further attempt. No timer of an ended run fires: the effect is asked after instead.
            yield ClearTimer(retry_timer(step_id, step.attempt))
            yield ExpectAnswer(task(run, step.scheduled, step.attempt), step.due_at)
    yield outcome(run, event, started_at=0, ended_at=0)
    if run.parent is not None and run.parent.hears_end:
        yield word_of_end(run, run.parent, event, run.seq + 1)
    if run.children:
        yield from close_children(run)


def give_up(run: Run) -> Iterator[Message]:
    """Expect nothing more of the plain steps and the timers that are open."""
    for step_id in ordered(run.open_steps):
        if not run.open_steps[step_id].is_effect:
            yield from settled(run, step_id)
    for timer_id in ordered(run.timers):
        yield ClearTimer(timer_id)
    if run.behind:
        yield ClearTimer(TURN)


def close_children(run: Run) -> Iterator[Message]:
    """Ask the children of a run that ends to end too, as they were called; those that are let go of answer no more."""
    owed = owing(run.children)
    for number, step_id in enumerate(owed, 1):
        child = run.children[step_id]
        if not child.is_abandoned_at_end:
            yield end_of(run, child, child.scheduled.parent_close, run.seq + 1, number)
    for step_id in sorted(run.children.keys() - set(owed)):
        yield CloseAttempt(step_id)


def answer(run: Run, command: Command, last: e.Event | None) -> tuple[Message, ...]:
    """Tell what the outside must hear of a command that changed nothing in its run.

    `last` is the last event of its history, if that is at hand.
    """
    match command:
        case FireTimer() | AttemptStep():
            return unawaited(run, command)
        case PurgeRun() if run.ended:
            return (Bury(input_hash(run.workflow, run.first_input)),)
        case ContinueTurn():
            return () if run.behind and run.parked is None else (ClearTimer(TURN),)
        case StartRun(parent=parent) if parent is not None:
            return reply(run, parent, last)
        case CloseChild(parent=parent) if run.ended and parent.is_same(run.parent):
            return reply(run, parent, last)
        case HearChild(step_id=step_id, status=word) if step_id in run.closing:
            return (CloseAttempt(step_id),) if run.closing[step_id].is_closed_by(word) else ()
        case _:
            return ()


def ask_ledger(step: OpenStep, question: Ask) -> tuple[AskLedger, ...]:
    """Put a question about an effect; of a plain step the ledger knows nothing."""
    scheduled = step.scheduled
    return () if scheduled.key is None else (AskLedger(scheduled.step_id, scheduled.key, question),)


def ask_again(run: Run, step_id: str) -> tuple[AskLedger, ...]:
    """Ask for the verdict of an effect that nobody wants, or has attempts left for, or that a person decides on."""
    step = run.open_steps.get(step_id)
    if step is None:
        ended = run.unsettled.get(step_id)
        return () if ended is None else ask_ledger(ended, Cancel(who=THE_PROCESS))
    if step.withdrawn:
        return ask_ledger(step, Cancel(who=THE_PROCESS))
    if step.exhausted is not None:
        return ask_ledger(step, Close(who=THE_PROCESS, reason=step.exhausted.message))
    if step.awaits_a_person:
        return ask_ledger(step, Expire(who=THE_PROCESS))  # nobody holds it: the answer says how it stands
    return ()


def no_attempts_left(last: str) -> str:
    """Say why an effect is closed or parked."""
    return f"no attempts are left; the last one: {last}"


def resolution(said: e.ResolutionRequested | ResolveEffect) -> Resolve:
    """Put a person's verdict into the ledger's words."""
    return Resolve(
        who=said.by,
        version=said.version,
        verdict=said.verdict,
        reason=said.reason,
        result=said.result,
        error=said.error,
    )


def unawaited(run: Run, command: FireTimer | AttemptStep) -> tuple[ClearTimer, ...]:
    """Take a timer off that nothing waits for now: its run is parked, or it was met before."""
    if isinstance(command, FireTimer):
        timer_id = command.timer_id
        awaited = timer_id in run.timers
    else:
        timer_id = retry_timer(command.step_id, command.attempt)
        step = run.open_steps.get(command.step_id)
        awaited = step is not None and step.attempt == command.attempt and step.due_at is not None
    return () if awaited and run.parked is None else (ClearTimer(timer_id),)


def waits(run: Run) -> Iterator[tuple[str, int]]:
    """Tell all that a run waits for by the clock: the id of each timer, and when it is due."""
    for timer_id in ordered(run.timers):
        yield timer_id, run.timers[timer_id]
    for step_id in ordered(run.open_steps):
        step = run.open_steps[step_id]
        if step.due_at is not None:
            yield retry_timer(step_id, step.attempt), step.due_at


def retry_timer(step_id: str, attempt: int) -> str:
    """Name the timer of the wait before an attempt."""
    return f"{RETRY}{attempt}:{step_id}"


def task(run: Run, scheduled: e.StepScheduled, attempt: int = 1) -> ExecuteStep:
    """Put an attempt of a step into words for a worker."""
    return ExecuteStep(
        run_id=run.run_id,
        incarnation=run.incarnation,
        step_id=scheduled.step_id,
        attempt=attempt,
        name=scheduled.name,
        kind=scheduled.kind,
        queue=scheduled.queue,
        input=scheduled.input,
        timeout=scheduled.timeout,
        workflow=run.workflow,
        heartbeat=scheduled.heartbeat,
        guard=scheduled.guard,
        key=scheduled.key,
    )


def outcome(run: Run, event: e.Outcome, *, started_at: int, ended_at: int) -> RunOutcome:
    """Put the terminal event of a run into words for its consumers."""
    return RunOutcome(
        run_id=run.run_id,
        workflow=run.workflow,
        version=run.version,
        status=STATUS_AFTER[type(event)],
        result=event.result if type(event) is e.RunCompleted else None,
        error=event.error if type(event) is e.RunFailed else None,
        attributes=run.attributes,
        started_at=started_at,
        ended_at=ended_at,
    )
