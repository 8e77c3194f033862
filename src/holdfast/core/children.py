"""The children of a run: how one is called, what it answers, and what becomes of it when its parent ends.

Laws of this file:
- A child is another run, on the shard of its own id: it is asked by commands and answers by commands (adr/0025).
- What a child has answered counts once: the state of the step that called it tells.
- A child that is cancelled is waited for: its end is the answer.
- What is open when its parent ends is asked to end too, as `parent_close` says; it is asked again until it answers.
- A run that exists already and was not called by this very step is not touched: the call fails.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from holdfast.core import events as e
from holdfast.core import status
from holdfast.core.commands import CloseChild, HearChild, StartChild, StartRun
from holdfast.core.identity import event_id
from holdfast.core.messages import Send
from holdfast.core.parent import ABANDON, CANCEL, Parent
from holdfast.core.retry import Failure
from holdfast.core.sharing import added, ordered, without
from holdfast.core.status import STATUS_AFTER

if TYPE_CHECKING:
    from holdfast.core.run import Run

REFUSED = "REFUSED"
"""The answer of a run that another has started: it is no child of the step that asks."""
RUN_EXISTS_ERROR = "RunExists"


class OpenChild(msgspec.Struct, frozen=True):
    """A child that still owes an answer.

    `seq` of the event that called it, and `cancel_seq` of the one that asked it to stop, 0 if there is none.
    """

    scheduled: e.ChildScheduled
    seq: int
    cancel_seq: int = 0
    started: bool = False

    @property
    def is_abandoned_at_end(self) -> bool:
        return self.scheduled.parent_close == ABANDON

    def place(self, run_id: str, incarnation: int) -> Parent:
        """Name the step that called it, as the child knows it."""
        called = self.scheduled
        return Parent(run_id, incarnation, called.step_id, called.detached, called.parent_close)

    def is_closed_by(self, word: str) -> bool:
        """Tell whether the word of a child is the last that its ended parent waits for."""
        return self.is_abandoned_at_end or word != status.RUNNING


def called(command: StartChild) -> e.ChildScheduled:
    """Record a call of a child with all that starting it needs."""
    return e.ChildScheduled(
        step_id=command.step_id,
        workflow=command.workflow,
        version=command.version,
        run_id=command.run_id,
        input=command.input,
        input_hash=command.input_hash,
        parent_close=command.parent_close,
        detached=command.detached,
    )


def answered(child: OpenChild, command: HearChild) -> tuple[e.Event, ...]:
    """Settle the call of a child as it says; None of its words counts twice."""
    step_id = command.step_id
    if command.child != child.scheduled.run_id:
        return ()
    match command.status:
        case status.RUNNING:
            return () if child.started else (e.ChildStarted(step_id=step_id),)
        case status.COMPLETED if command.result is not None:
            return (e.ChildCompleted(step_id=step_id, result=command.result),)
        case status.CANCELLED:
            return (e.ChildCancelled(step_id=step_id),)
        case status.TERMINATED:
            return (e.ChildTerminated(step_id=step_id, reason=command.reason),)
        case _:
            error = command.error or Failure(command.status, f"child run {command.child} ended as {command.status}")
            return (e.ChildFailed(step_id=step_id, error=error),)


def closed(run: "Run", command: CloseChild) -> tuple[e.Event, ...]:
    """Stop a run because its parent wants it; only the place that called it may say so."""
    parent = command.parent
    if run.ended or not parent.is_same(run.parent):
        return ()  # one that has not come yet is asked again; one that ended answers again
    place = f"{parent.run_id}/{parent.incarnation}/{parent.step_id}"
    if command.how != CANCEL:
        return (e.RunTerminated(reason=f"parent run {parent.run_id} has ended"),)
    if run.cancelling or place in run.cancels:
        return ()
    return (e.CancelRequested(reason=f"parent run {parent.run_id} asks for it", message_id=place),)


def refusal(parent: Parent, child: str) -> HearChild:
    """Tell a step that the id of its child is another run's."""
    text = f"run {child} exists already and is no child of step {parent.step_id} of run {parent.run_id}: "
    error = Failure(RUN_EXISTS_ERROR, f"{text}choose another id with options(id=…)", step=parent.step_id)
    return HearChild(step_id=parent.step_id, child=child, status=REFUSED, error=error)


# -- what parent and child send to each other


def start_of(run: "Run", child: OpenChild) -> Send:
    """Start a child, as often as it takes."""
    scheduled = child.scheduled
    start = StartRun(
        workflow=scheduled.workflow,
        version=scheduled.version,
        input=scheduled.input,
        parent=child.place(run.run_id, run.incarnation),
    )
    return Send(scheduled.run_id, start, identity(run, child.seq, 0), awaits=scheduled.step_id)


def end_of(run: "Run", child: OpenChild, how: str, seq: int, number: int) -> Send:
    """Ask a child to end, as it follows from the event `seq`."""
    close = CloseChild(parent=child.place(run.run_id, run.incarnation), how=how)
    return Send(child.scheduled.run_id, close, identity(run, seq, number), awaits=child.scheduled.step_id)


def word_of_start(run: "Run", parent: Parent) -> Send:
    """Tell the parent that the run exists."""
    word = HearChild(step_id=parent.step_id, child=run.run_id, status=status.RUNNING)
    return Send(parent.run_id, word, identity(run, 1, 0), incarnation=parent.incarnation)


def word_of_end(run: "Run", parent: Parent, event: e.Outcome, seq: int) -> Send:
    """Tell the parent how the run ended, by its event `seq`."""
    word = HearChild(
        step_id=parent.step_id,
        child=run.run_id,
        status=STATUS_AFTER[type(event)],
        result=event.result if isinstance(event, e.RunCompleted) else None,
        error=event.error if isinstance(event, e.RunFailed) else None,
        reason=event.reason if isinstance(event, (e.RunCancelled, e.RunTerminated)) else "",
    )
    return Send(parent.run_id, word, identity(run, seq, 0), incarnation=parent.incarnation)


def remind(run: "Run", step_id: str) -> tuple[Send, ...]:
    """Say again to a child what it may not have heard; all of it is what was said before."""
    if step_id in run.children:
        child = run.children[step_id]
        start = start_of(run, child)
        return (start, end_of(run, child, CANCEL, child.cancel_seq, 0)) if child.cancel_seq else (start,)
    child = run.closing[step_id]
    if child.is_abandoned_at_end:
        return (start_of(run, child),)
    number = 1 + list(run.closing).index(step_id)
    return (start_of(run, child), end_of(run, child, child.scheduled.parent_close, run.seq, number))


def reply(run: "Run", parent: Parent, last: e.Event | None) -> tuple[Send, ...]:
    """Answer a parent that asks again: it may have lost the answer; `last` event of the run, if it is at hand."""
    if not parent.is_same(run.parent):
        place = f"{parent.run_id}/{parent.incarnation}/{parent.step_id}/refused"
        return (Send(parent.run_id, refusal(parent, run.run_id), place, incarnation=parent.incarnation),)
    started = (word_of_start(run, parent),) if parent.hears_start else ()
    if run.ended and parent.hears_end and isinstance(last, e.OUTCOMES):
        return (*started, word_of_end(run, parent, last, run.seq))
    return started


def identity(run: "Run", seq: int, number: int) -> str:
    """Name a command by the event that it follows from."""
    return f"{event_id(run.run_id, run.incarnation, seq)}/{number}"


def started(run: "Run", step_id: str) -> "Run":
    """Note that a child exists; one that is detached for good owes nothing more."""
    child = run.children[step_id]
    if child.place(run.run_id, run.incarnation).hears_end:
        rest = added(run.children, step_id, replace(child, started=True))
    else:
        rest = without(run.children, step_id)
    return replace(run, seq=run.seq + 1, children=rest)


def owing(children: Mapping[str, OpenChild]) -> list[str]:
    """Name the children that an ended run still has to hear of, in the order they were called."""
    return [name for name in ordered(children) if not (children[name].is_abandoned_at_end and children[name].started)]
