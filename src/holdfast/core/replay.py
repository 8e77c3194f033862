"""Driving a workflow's code: live, and again from its history.

Laws of this file:
- Exactly one event is applied, the code runs until it is quiet, then the next; the same live and in replay.
- Replay compares every request of the code with the history; a difference parks the run with a diff, it never fails it.
- While a run is parked, what comes in is recorded and waits; the event whose turn could not be finished waits with it.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from holdfast.core import events as e
from holdfast.core.commands import CancelRun, Command, ContinueRun, ParkRun, Request, ResumeRun, SignalRun
from holdfast.core.continuing import next_start
from holdfast.core.difference import alike, difference
from holdfast.core.messages import Message
from holdfast.core.react import react
from holdfast.core.run import CONTINUED, ENDED, RUNNING, Run, decide, evolve


class Program(Protocol):
    """A workflow's code, standing still between two events."""

    replaying: bool
    """Whether what it is told of has happened before: then it says nothing of it again."""
    history_length: int
    """How many events there are up to the one that it is told of."""

    def apply(self, event: e.Event, at: int) -> Sequence[Request]:
        """Tell the code of `event` at time `at`, run it until it is quiet, and return what it asks for, in order.

        Raises:
            ProgramStuck: the code cannot go on (unknown workflow, input that does not fit, engine error).
        """

    def where(self, request: Request | None) -> str:
        """Tell the author's line that waits for what `request` asks, or where the code stands; "" if it has ended."""

    def is_cancelling(self) -> bool:
        """Tell whether the code is still at work on a cancellation; else it has swallowed what there was."""


class ProgramStuck(Exception):
    """The code cannot go on without a person; `reason` is one word for machines, the text says what to do."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Nondeterminism(ProgramStuck):
    """The code asked for something else than the history tells."""

    def __init__(self, run_id: str, difference: str) -> None:
        super().__init__(
            "nondeterminism",
            f"{difference}\nThe workflow changed under a running run, or does what it must not. "
            f"Deploy the old code, or mend it, then: holdfast resume {run_id}",
        )


class Advance:
    """A run on its way through one command: what has happened so far, and what the outside must hear of it."""

    __slots__ = ("events", "messages", "run", "unread")

    def __init__(self, run: Run) -> None:
        self.run = run
        self.unread: tuple[SignalRun, ...] = ()
        """The signals that go along to the next incarnation."""
        self.events: list[e.Event] = []
        self.messages: list[Message] = []

    def happen(self, event: e.Event) -> None:
        self.messages += react(self.run, event)
        self.events.append(event)
        self.run = evolve(self.run, event)

    def turn(self, program: Program, event: e.Event, at: int) -> None:
        """Tell the code of `event` and record what it asks for, or that it is stuck."""
        requests: Sequence[Command]
        program.history_length = self.run.seq
        try:
            requests = program.apply(event, at)
        except ProgramStuck as stuck:
            requests = [ParkRun(reason=stuck.reason, detail=str(stuck))]
        for request in requests:
            if self.run.status in ENDED:
                break  # what the code asks for after its run's end is dropped
            for asked in decide(self.run, request):
                self.happen(asked)
            if isinstance(request, ContinueRun) and self.run.status == CONTINUED:
                self.unread = request.unread


def open_next(closed: Advance, program: Program, version: str, at: int) -> Advance:
    """Open the incarnation after one that was closed as new: its code runs, and hears the signals that went along."""
    run, last = closed.run, closed.events[-1]
    assert isinstance(last, e.RunContinued)  # noqa: S101 - by its status
    advance = Advance(Run(run.run_id, run.incarnation + 1))
    started = next_start(run, last, version)
    advance.happen(started)
    advance.turn(program, started, at)
    for number, signal in enumerate(closed.unread):
        if advance.run.ended:
            advance.unread += closed.unread[number:]
            break
        for heard in decide(advance.run, signal):
            advance.happen(heard)
            if advance.run.parked is None:
                advance.turn(program, heard, at)
    return advance


def advance(run: Run, program: Program | None, command: Command, at: int) -> Advance:
    """Handle one command live: decide, run the code, decide on its requests.

    With `program` None (a parked or ended run) only the command's own events follow. Code that is stuck parks the
    run: the event that it could not take is the last before `RunParked`, and waits.

    Raises:
        DeadLetter: the command can never be handled; nothing changed.
    """
    advance = Advance(run)
    seen = run
    if run.cancelling and isinstance(command, CancelRun) and program is not None and not program.is_cancelling():
        # A request that was heard and swallowed is over. That another one followed is recorded: a replay asks nobody.
        seen = msgspec.structs.replace(run, cancelling=False)
    for event in decide(seen, command):
        if advance.events and program is not None and advance.run.status != RUNNING:
            break  # a turn of this very command has ended or parked the run
        advance.happen(event)
        if program is not None and type(event) in e.INPUTS:
            advance.turn(program, event, at)
    return advance


def resume(rebuilt: "Rebuilt", program: Program, command: ResumeRun, at: int) -> Advance:
    """Let a parked run go on: its code hears what came in meanwhile, in order."""
    advance = Advance(rebuilt.run)
    for event in decide(rebuilt.run, command):
        advance.happen(event)
        if type(event) in e.INPUTS:
            rebuilt.waiting.append(e.Recorded(advance.run.seq, at, event))
    while rebuilt.waiting and advance.run.status == RUNNING:
        advance.turn(program, rebuilt.waiting.pop(0).event, at)
    return advance


class Rebuilt:
    """A replay: the state and the code as they were after the last event of a history.

    `waiting` are inputs that a parked run has recorded and its code has not heard of yet.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.waiting: list[e.Recorded] = []

    def replay(self, history: Sequence[e.Recorded], program: Program) -> Run:
        """Apply a whole history.

        Raises:
            Nondeterminism: the code and the history differ.
            ProgramStuck: the code cannot be run.
        """
        program.replaying = True
        self._replay(history, program)
        program.replaying = False
        return self.run

    def _replay(self, history: Sequence[e.Recorded], program: Program) -> None:
        at = 0
        while at < len(history):
            recorded = history[at]
            at += 1
            event = recorded.event
            self.run = evolve(self.run, event)
            if type(event) in e.INPUTS:
                if self.run.parked is not None or self._unfinished(history, at):
                    self.waiting.append(recorded)
                else:
                    program.history_length = self.run.seq
                    at = self._compare(history, at, program.apply(event, recorded.at), program)
            elif isinstance(event, e.RunResumed):
                at = self._resume(history, at, program)
            elif isinstance(event, REQUESTED):
                raise self._differs(None, None, history, at - 1, program)

    def _unfinished(self, history: Sequence[e.Recorded], at: int) -> bool:
        return at < len(history) and isinstance(history[at].event, e.RunParked)

    def _resume(self, history: Sequence[e.Recorded], at: int, program: Program) -> int:
        while self.waiting:
            recorded = self.waiting[0]
            if self._unfinished(history, at):
                break
            program.history_length = self.run.seq
            requests = program.apply(recorded.event, history[at - 1].at)
            del self.waiting[0]
            at = self._compare(history, at, requests, program)
        return at

    def _compare(self, history: Sequence[e.Recorded], at: int, requests: Sequence[Request], program: Program) -> int:
        for request in requests:
            if self.run.ended:
                break
            for event in decide(self.run, request):
                if at >= len(history) or not alike(event, history[at].event):
                    raise self._differs(event, request, history, at, program)
                self.run = evolve(self.run, history[at].event)
                at += 1
        return at

    def _differs(
        self, asked: e.Event | None, request: Request | None, history: Sequence[e.Recorded], at: int, program: Program
    ) -> Nondeterminism:
        recorded = history[at].event if at < len(history) else None
        told = difference(asked, recorded, at + 1, history[:at], program.where(request))
        return Nondeterminism(self.run.run_id, told)


REQUESTED = (
    e.StepScheduled,
    e.StepAbandoned,
    e.StepWithdrawn,
    e.TimerStarted,
    e.TimerCancelled,
    e.SignalRefused,
    e.ChildScheduled,
    e.ChildCancelRequested,
    e.RunCompleted,
    e.RunFailed,
    e.RunCancelled,
    e.RunContinued,
)
