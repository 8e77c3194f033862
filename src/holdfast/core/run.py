"""A run of a workflow: what may happen to it (`decide`), and what it is then (`evolve`). What follows: react.py.

Laws of this file:
- A command about something already settled yields no events. A duplicate is an ordinary outcome.
- The first success of any attempt settles an open step; a failure counts only for the current attempt.
- A parked run records what comes in; its code does not run and its timers wait.
- What can never be handled is a dead letter with its reason, never a silent nothing.
- How a step is settled, and an effect by the ledger's word alone, stands in settling.py.
- The state holds what is open, nothing that grows with history.
"""

from collections.abc import Mapping
from typing import Any, assert_never

import msgspec
from msgspec.structs import replace

from holdfast.core import events as e
from holdfast.core.asks import VERDICTS
from holdfast.core.children import OpenChild, answered, called, closed, owing, started
from holdfast.core.commands import (
    AbandonStep,
    AttemptStep,
    CancelChild,
    CancelRun,
    CancelTimer,
    CloseChild,
    Command,
    CompleteRun,
    CompleteStep,
    ConcludeCancel,
    ContinueRun,
    ContinueTurn,
    FailRun,
    FailStep,
    FireTimer,
    HearChild,
    HearLedger,
    ParkRun,
    PurgeRun,
    RefuseSignal,
    ResolveEffect,
    ResumeRun,
    ScheduleStep,
    SignalRun,
    StartChild,
    StartRun,
    StartTimer,
    TerminateRun,
    WithdrawStep,
)
from holdfast.core.continuing import continued
from holdfast.core.dead_letter import DeadLetter
from holdfast.core.parent import Parent
from holdfast.core.payload import NOTHING, Payload, same
from holdfast.core.settling import (
    PERSON,
    WORKER_DIED,
    OpenStep,
    abandoned,
    after_failure,
    after_verdict,
    called_step,
    effects_of,
    resolution,
    taken_up,
    word_of,
)
from holdfast.core.sharing import FEW, added, without
from holdfast.core.status import (
    CANCELLED,
    COMPLETED,
    CONTINUED,
    ENDED,
    FAILED,
    PARKED,
    RUNNING,
    STATUS_AFTER,
    STATUSES,
    SUSPENDED,
    TERMINATED,
)

__all__ = [
    "CANCELLED", "COMPLETED", "CONTINUED", "EFFECT_PARKED", "ENDED", "FAILED", "INBOX_FULL", "PARKED", "RUNNING",
    "RUN_EXISTS",
    "STATUSES", "SUSPENDED", "TERMINATED", "UNFIT_SIGNAL", "WORKER_DIED", "DeadLetter", "Run", "decide", "evolve",
]  # fmt: skip

EFFECT_PARKED = "effect_parked"
"""Why a run stands whose code waits for nothing but effects that a person has to decide on."""
INBOX_FULL = "inbox_full"
"""Why a signal is a dead letter for whose run as many wait as may, and the run was not started."""
RUN_EXISTS = "run_exists_differs"
"""Why a start is a dead letter: its run id is another run's."""
UNFIT_SIGNAL = "unfit_signal"
"""Why a signal is a dead letter that the code waited for as another type."""


class Run(msgspec.Struct, frozen=True):
    """What must be known of a run to decide; `status` is empty until it is started."""

    run_id: str
    incarnation: int = 0
    status: str = ""
    seq: int = 0
    workflow: str = ""
    version: str = ""
    input: Payload = NOTHING
    attributes: dict[str, str] = {}
    open_steps: Mapping[str, OpenStep] = {}
    timers: Mapping[str, int] = {}
    counters: dict[str, int] = {}
    explicit_ids: Mapping[str, None] = {}
    cancelling: bool = False
    cancels: frozenset[str] = frozenset()
    parked: e.RunParked | None = None
    parked_steps: Mapping[str, None] = {}
    unsettled: dict[str, OpenStep] = {}
    """Effects that were open when the run ended: the ledger still goes on to their verdict."""
    parent: Parent | None = None
    children: Mapping[str, OpenChild] = {}
    closing: Mapping[str, OpenChild] = {}
    """Children that owed an answer when the run ended: they are asked until they have given it."""
    origin: Payload | None = None
    behind: int = 0
    """Where its turn was cut; 0 when its code is not behind what is recorded (behind.py)."""

    @property
    def stands(self) -> str | None:
        """Why the run stands still until a person decides; None while something in it can move."""
        if self.parked is not None:
            return self.parked.reason
        if not self.parked_steps or self.timers or self.children or self.behind:
            return None
        if len(self.parked_steps) == len(self.open_steps):
            plainly = self.parked_plainly
            return word_of(plainly) if plainly else EFFECT_PARKED
        return None

    @property
    def parked_plainly(self) -> list[OpenStep]:
        """Steps that are parked and no effects: a person lets them be tried again by resuming the run."""
        return [step for step in map(self.open_steps.__getitem__, self.parked_steps) if not step.is_effect]

    @property
    def exists(self) -> bool:
        return bool(self.status)

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def first_input(self) -> Payload:
        """The input that the run was started with, in its first incarnation."""
        return self.input if self.origin is None else self.origin

    def knows(self, step_id: str) -> bool:
        """Tell whether the step was ever scheduled in this incarnation, open or settled."""
        name, _, number = step_id.rpartition("#")
        if number.isdigit() and int(number) <= self.counters.get(name, 0):
            return True
        return step_id in self.explicit_ids


def decide(run: Run, command: Command) -> tuple[e.Event, ...]:
    """Tell which events follow from `command`.

    Raises:
        DeadLetter: the command can never be handled.
    """
    # Every run comes by these: `type() is` costs a fortieth of a `case` that fails (docs/performance.md).
    if type(command) is CompleteStep:
        # The first success of any attempt settles an open step (law 9).
        if command.step_id in run.open_steps:
            return (e.StepCompleted(step_id=command.step_id, attempt=command.attempt, result=command.result),)
        return late(run, command.step_id)
    if type(command) is ScheduleStep:
        return called_step(command)
    if type(command) is StartRun:
        return start(run, command)
    if type(command) is CompleteRun:
        return (e.RunCompleted(result=command.result),)
    match command:
        case FailStep(step_id=step_id):
            step = run.open_steps.get(step_id)
            identity = f"{run.run_id}/{run.incarnation}/{step_id}"
            return late(run, step_id) if step is None else after_failure(step, command, identity)
        case HearLedger(step_id=step_id):
            step = run.open_steps.get(step_id)
            return late(run, step_id) if step is None else after_verdict(step, command)
        case WithdrawStep(step_id=step_id):
            wanted = step_id in run.open_steps and not run.open_steps[step_id].withdrawn
            return (e.StepWithdrawn(step_id=step_id),) if wanted else ()
        case ResolveEffect(step_id=step_id, verdict=verdict):
            if verdict not in VERDICTS:
                raise DeadLetter("verdict_unknown", f"verdict is {verdict!r}, not one of {', '.join(VERDICTS)}")
            known = not missing(run) and step_id in run.open_steps
            return (resolution(command),) if known else late(run, step_id)
        case AttemptStep(step_id=step_id, attempt=attempt):
            step = run.open_steps.get(step_id)
            waits = step is not None and step.attempt == attempt and step.due_at is not None
            return (e.StepAttempted(step_id=step_id, attempt=attempt),) if waits and run.status == RUNNING else ()
        case StartTimer(timer_id=timer_id, due_at=due_at):
            return (e.TimerStarted(timer_id=timer_id, due_at=due_at),)
        case FireTimer(timer_id=timer_id):
            waits = timer_id in run.timers and run.status == RUNNING
            return (e.TimerFired(timer_id=timer_id),) if waits else ()
        case CancelTimer(timer_id=timer_id):
            return (e.TimerCancelled(timer_id=timer_id),) if timer_id in run.timers else ()
        case AbandonStep(step_id=step_id):
            return abandoned(run.open_steps.get(step_id), step_id)
        case SignalRun():
            return signalled(run, command)
        case RefuseSignal(message_id=message_id, name=name, input=payload, detail=detail):
            return (e.SignalRefused(message_id=message_id, name=name, input=payload, detail=detail),)
        case CancelRun(reason=reason, message_id=message_id):
            if missing(run) or run.ended or run.cancelling or message_id in run.cancels:
                return ()
            return (e.CancelRequested(reason=reason, message_id=message_id),)
        case TerminateRun(reason=reason):
            return () if missing(run) or run.ended else (e.RunTerminated(reason=reason),)
        case ContinueTurn():
            return ()  # the code's to answer (replay.py)
        case ResumeRun(by=by):
            return () if missing(run) else resumed(run, by)
        case PurgeRun():
            return () if missing(run) or run.ended else still_open(run)
        case ParkRun(reason=reason, detail=detail):
            return (e.RunParked(reason=reason, detail=detail),) if run.status == RUNNING else ()
        case FailRun(error=error):
            return (e.RunFailed(error=error),)
        case ConcludeCancel():
            return (e.RunCancelled(),)
        case ContinueRun():
            return continued(run, command)
        case StartChild():
            return (called(command),)
        case HearChild(step_id=step_id):
            child = run.children.get(step_id)
            if child is not None:
                return answered(child, command)
            return late(run, step_id) if run.exists else ()  # its parent is gone: nobody waits any more
        case CancelChild(step_id=step_id):
            wanted = step_id in run.children and not run.children[step_id].cancel_seq
            return (e.ChildCancelRequested(step_id=step_id),) if wanted else ()
        case CloseChild():
            return closed(run, command)
        case _:
            assert_never(command)


def resumed(run: Run, by: str) -> tuple[e.Event, ...]:
    """Try again what was parked: steps first, so that the code's own turns follow right behind `RunResumed`.

    Those that a person takes up last: their turns may let go of other steps.
    """
    again = [
        taken_up(step)
        for step in sorted(run.parked_plainly, key=lambda step: (step.scheduled.kind == PERSON, step.scheduled.step_id))
    ]
    return (*again, e.RunResumed(by=by)) if run.status == PARKED else tuple(again)


def start(run: Run, command: StartRun) -> tuple[e.Event, ...]:
    """Start a run once; the same start again changes nothing. A parent's is answered in any case (react.py)."""
    if not run.exists:
        return (
            e.RunStarted(
                workflow=command.workflow,
                version=command.version,
                input=command.input,
                attributes=command.attributes,
                parent=command.parent,
            ),
        )
    if command.parent is not None:
        return ()
    if run.workflow == command.workflow and same(run.first_input, command.input):
        return ()
    raise DeadLetter(
        RUN_EXISTS,
        f"run {run.run_id} exists with another workflow or input; it is unchanged. Choose another run id",
    )


def late(run: Run, step_id: str) -> tuple[e.Event, ...]:
    """A late result of a settled step writes nothing; a result of a step never scheduled is a dead letter."""
    if run.ended or run.knows(step_id):
        return ()
    raise DeadLetter("step_never_scheduled", f"run {run.run_id} never scheduled a step {step_id}")


def signalled(run: Run, command: SignalRun) -> tuple[e.Event, ...]:
    """Take a signal once, by its message id."""
    if command.seen:
        return ()
    if run.ended:
        raise DeadLetter("run_ended", f"run {run.run_id} has ended ({run.status}): signal {command.name!r} is late")
    return (
        e.SignalReceived(
            message_id=command.message_id, name=command.name, input=command.input, carried=command.carried
        ),
    )


def still_open(run: Run) -> tuple[e.Event, ...]:
    """Refuse to forget a run that goes on."""
    raise DeadLetter("run_open", f"run {run.run_id} is {run.status}: only a run that has ended can be purged")


def missing(run: Run) -> bool:
    """Refuse a request about a run that nobody started."""
    if not run.exists:
        raise DeadLetter("run_unknown", f"there is no run {run.run_id}")
    return False


def evolve(run: Run, event: e.Event) -> Run:
    """Fold `event` into `run`. Total; never refuses: it happened."""
    seq = run.seq + 1
    # Every run comes by these: `type() is` costs a fortieth of a `case` that fails (docs/performance.md).
    if type(event) is e.StepScheduled:
        step_id, name = event.step_id, event.name
        steps, step = run.open_steps, OpenStep(event)
        # The first of the two is what `added` does, written out.
        opened = {**steps, step_id: step} if len(steps) < FEW else added(steps, step_id, step)
        number = run.counters.get(name, 0) + 1
        if step_id == f"{name}#{number}":
            return replace(run, seq=seq, open_steps=opened, counters={**run.counters, name: number})
        return replace(run, seq=seq, open_steps=opened, explicit_ids=added(run.explicit_ids, step_id, None))
    if type(event) is e.StepCompleted and not run.parked_steps:
        if len(run.open_steps) < FEW:  # what `without` does, written out
            rest = {**run.open_steps}
            rest.pop(event.step_id, None)
            return replace(run, seq=seq, open_steps=rest)
        return replace(run, seq=seq, open_steps=without(run.open_steps, event.step_id))
    if type(event) is e.RunStarted:
        return replace(
            run,
            seq=seq,
            status=RUNNING,
            workflow=event.workflow,
            version=event.version,
            input=event.input,
            attributes=event.attributes,
            parent=event.parent,
            origin=event.origin,
            cancels=frozenset(event.cancels),
        )
    if type(event) is e.RunCompleted:
        return concluded(run, event)
    match event:
        case e.RunFailed() | e.RunCancelled() | e.RunTerminated() | e.RunContinued():
            return concluded(run, event)
        case e.TurnCut() | e.TurnEnded():
            return replace(run, seq=seq, behind=seq if type(event) is e.TurnCut else 0)
        case (
            e.StepCompleted(step_id=step_id)
            | e.StepFailed(step_id=step_id)
            | e.StepAbandoned(step_id=step_id)
            | e.StepCancelled(step_id=step_id)
        ):
            parked = run.parked_steps and without(run.parked_steps, step_id)
            return replace(run, seq=seq, open_steps=without(run.open_steps, step_id), parked_steps=parked)
        case e.StepRetried(step_id=step_id, attempt=attempt, due_at=due_at):
            return changed(run, step_id, attempt=attempt, due_at=due_at, resolving=False)
        case e.StepAttempted(step_id=step_id, attempt=attempt):
            return changed(run, step_id, attempt=attempt, due_at=None, exhausted=None, parked=None, resolving=False)
        case e.StepWithdrawn(step_id=step_id):
            return changed(run, step_id, withdrawn=True)
        case e.StepExhausted(step_id=step_id, error=error):
            return changed(run, step_id, exhausted=error)
        case e.StepParked(step_id=step_id, reason=reason):
            return changed(run, step_id, parked=reason)
        case e.TimerStarted(timer_id=timer_id, due_at=due_at):
            return replace(run, seq=seq, timers=added(run.timers, timer_id, due_at))
        case e.TimerFired(timer_id=timer_id) | e.TimerCancelled(timer_id=timer_id):
            return replace(run, seq=seq, timers=without(run.timers, timer_id))
        case e.SignalReceived() | e.SignalRefused():
            return replace(run, seq=seq)
        case e.ResolutionRequested(step_id=step_id):
            return changed(run, step_id, resolving=True)
        case e.CancelRequested(message_id=message_id):
            cancels = run.cancels | {message_id} if message_id else run.cancels
            return replace(run, seq=seq, cancelling=True, cancels=cancels)
        case e.RunParked():
            return replace(run, seq=seq, status=PARKED, parked=event)
        case e.RunResumed():
            return replace(run, seq=seq, status=RUNNING, parked=None)
        case e.ChildScheduled(step_id=step_id, workflow=workflow):
            counters = {**run.counters, workflow: run.counters.get(workflow, 0) + 1}
            return replace(
                run, seq=seq, counters=counters, children=added(run.children, step_id, OpenChild(event, seq))
            )
        case e.ChildStarted(step_id=step_id):
            return started(run, step_id)
        case e.ChildCancelRequested(step_id=step_id):
            child = replace(run.children[step_id], cancel_seq=seq)
            return replace(run, seq=seq, children=added(run.children, step_id, child))
        case (
            e.ChildCompleted(step_id=step_id)
            | e.ChildFailed(step_id=step_id)
            | e.ChildCancelled(step_id=step_id)
            | e.ChildTerminated(step_id=step_id)
        ):
            return replace(run, seq=seq, children=without(run.children, step_id))
        case _:
            assert_never(event)


def concluded(run: Run, event: e.Outcome | e.RunContinued) -> Run:
    """Keep of a run that ends, or of its incarnation, what the ledger and its children still have to say."""
    return replace(
        run,
        seq=run.seq + 1,
        status=STATUS_AFTER[type(event)],
        open_steps={},
        timers={},
        parked=None,
        parked_steps={},
        unsettled={step_id: run.open_steps[step_id] for step_id in effects_of(run.open_steps)},
        children={},
        closing={step_id: run.children[step_id] for step_id in owing(run.children)} if run.children else {},
        behind=0,
    )


def changed(run: Run, step_id: str, **fields: Any) -> Run:
    """Change an open step by the event that comes next."""
    step = msgspec.structs.replace(run.open_steps[step_id], **fields)
    parked = run.parked_steps
    if step.parked is not None:
        parked = added(parked, step_id, None)
    elif step_id in parked:
        parked = without(parked, step_id)
    return msgspec.structs.replace(
        run,
        seq=run.seq + 1,
        open_steps=added(run.open_steps, step_id, step),
        parked_steps=parked,
    )
