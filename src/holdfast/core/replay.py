"""Driving a workflow's code: live, and again from its history.

Laws of this file:
- Exactly one event is applied, the code runs until it is quiet, then the next; the same live and in replay.
- Replay compares every request of the code with the history; a difference parks the run with a diff, it never fails it.
- While a run is parked, what comes in is recorded and waits; the event whose turn could not be finished waits with it.
- A turn that asks for very much is recorded in parts (behind.py).
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from holdfast.core import events as e
from holdfast.core.behind import Behind
from holdfast.core.commands import CancelRun, Command, ContinueRun, ContinueTurn, ParkRun, Request, ResumeRun, SignalRun
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
    paused: bool
    """Whether its turn has asked for so much that the rest is to be recorded apart (behind.py)."""
    part: int

    def apply(self, event: e.Event, at: int) -> Sequence[Request]:
        """Tell the code of `event` at time `at`, run it until it is quiet, and return what it asks for, in order.

        Raises:
            ProgramStuck: the code cannot go on (unknown workflow, input that does not fit, engine error).
        """

    def go_on(self) -> Sequence[Request]:
        """Continue the turn that is paused, as `apply` does."""

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

    __slots__ = ("events", "messages", "run", "unheard", "unread")

    def __init__(self, run: Run) -> None:
        self.run = run
        self.unread: tuple[SignalRun, ...] = ()
        """The signals that go along to the next incarnation."""
        self.events: list[e.Event] = []
        self.messages: list[Message] = []
        self.unheard: tuple[e.Recorded, ...] = ()  # further inputs of one command, behind a turn that was cut

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
        if program.paused and self.run.status == RUNNING:
            self.happen(e.TurnCut(requests=len(requests)))

    def catch_up(self, program: Program, behind: Behind) -> None:
        """Record one more part of what the code has still to do, and whether that was all."""
        was_behind = self.run.behind
        recorded = heard = 0
        while self.run.status == RUNNING:
            try:
                requests = behind.rest(program)
                if requests is None:
                    requests = behind.hear(program)
                    heard += 1
            except ProgramStuck as stuck:
                for parked in decide(self.run, ParkRun(reason=stuck.reason, detail=str(stuck))):
                    self.happen(parked)
                return
            for request in requests or ():
                if self.run.status in ENDED:
                    return
                for asked in () if behind.holds_up(request) else decide(self.run, request):
                    self.happen(asked)
                if isinstance(request, ContinueRun) and self.run.status == CONTINUED:
                    self.unread = request.unread
                recorded += 1
            if self.run.status != RUNNING:
                return
            if not behind.has_more(program):
                if was_behind:
                    self.happen(e.TurnEnded(requests=recorded))
                return
            if program.paused or recorded + heard >= program.part:
                self.happen(e.TurnCut(requests=recorded, heard=heard))
                return


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
            if advance.run.behind:
                advance.unheard += (e.Recorded(advance.run.seq, at, heard),)
            elif advance.run.parked is None:
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
        seen = swallowed(run)
    for event in decide(seen, command):
        if advance.events and program is not None and advance.run.status != RUNNING:
            break  # a turn of this very command has ended or parked the run
        advance.happen(event)
        if program is not None and type(event) in e.INPUTS:
            if advance.run.behind:
                advance.unheard += (e.Recorded(advance.run.seq, at, event),)
            else:
                advance.turn(program, event, at)
    return advance


def swallowed(run: Run) -> Run:
    """See a run without the request to end that its code has heard and swallowed: it is over.

    That another one followed is recorded: a replay asks nobody.
    """
    return msgspec.structs.replace(run, cancelling=False)


def advance_behind(run: Run, program: Program, behind: Behind, command: Command, at: int) -> Advance:
    """Handle one command of a run whose code is behind: record what comes in for later, or let the code go on.

    Raises:
        DeadLetter: the command can never be handled; nothing changed.
    """
    advance = Advance(run)
    if isinstance(command, ContinueTurn):
        if command.cut in {0, run.behind}:
            advance.catch_up(program, behind)
        return advance
    seen = run
    if run.cancelling and isinstance(command, CancelRun):
        unheard = any(type(one.event) is e.CancelRequested for one in behind.waiting)
        if not unheard and not program.is_cancelling():
            seen = swallowed(run)
    for event in decide(seen, command):
        advance.happen(event)
    if not advance.run.ended:
        behind.note(advance.events, run.seq + 1, at)
    return advance


def resume(rebuilt: "Rebuilt", program: Program, command: ResumeRun, at: int) -> Advance:
    """Let a parked run go on: its code hears what came in meanwhile, in order."""
    advance = Advance(rebuilt.run)
    for event in decide(rebuilt.run, command):
        advance.happen(event)
        if type(event) in e.INPUTS:
            rebuilt.behind.waiting.append(e.Recorded(advance.run.seq, at, event))
    rebuilt.behind.heard_at = at
    if rebuilt.run.behind or rebuilt.behind.has_more(program):
        advance.catch_up(program, rebuilt.behind)
    return advance


class Rebuilt:
    """A replay: the state and the code as they were after the last event of a history.

    `behind` has what the code has not done yet: inputs that a parked run has recorded, and the rest of a turn.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.behind = Behind()

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
            event = recorded.event
            if isinstance(event, REQUESTED):
                if not self.run.behind or self.run.parked is not None:
                    raise self._differs(None, None, history, at, program)
                at = self._catch_up(history, at, program)
                continue
            at += 1
            self.run = evolve(self.run, event)
            if type(event) in e.INPUTS:
                if self.run.parked is not None or self.run.behind or self._unfinished(history, at):
                    self.behind.waiting.append(recorded)
                else:
                    program.history_length = self.run.seq
                    self.behind.heard_at = recorded.at
                    at = self._turn(history, at, program.apply(event, recorded.at), program)
            elif isinstance(event, e.RunResumed):
                self.behind.heard_at = recorded.at
                at = self._catch_up(history, at, program)

    def _unfinished(self, history: Sequence[e.Recorded], at: int) -> bool:
        return at < len(history) and isinstance(history[at].event, e.RunParked)

    def _turn(self, history: Sequence[e.Recorded], at: int, requests: Sequence[Request], program: Program) -> int:
        """Compare a turn up to its end, or to where it was cut."""
        part = Part(history, at)
        more: Sequence[Request] | None = requests
        while more is not None:
            if not self._compare(part, more, program):
                return part.at
            if part.is_cut():
                self._take(part)
                return part.at
            more = self.behind.rest(program)
        return part.at

    def _catch_up(self, history: Sequence[e.Recorded], at: int, program: Program) -> int:
        """Compare one more part of what the code had still to do."""
        was_behind = self.run.behind
        part = Part(history, at)
        while not self.run.ended and not self._unfinished(history, part.at):
            if part.is_cut():
                self._take(part)
                return part.at
            more = self.behind.rest(program)
            if more is None:
                more = self.behind.hear(program)
                part.heard += 1
            if more is None:
                break
            if not self._compare(part, more, program):
                return part.at
        if was_behind and not self.run.ended and not self._unfinished(history, part.at):
            if part.next() != e.TurnEnded(requests=part.recorded):
                raise self._differs(e.TurnEnded(requests=part.recorded), None, history, part.at, program)
            self._take(part)
        return part.at

    def _compare(self, part: "Part", requests: Sequence[Request], program: Program) -> bool:
        """Compare requests with what follows in the history; False if they go on in a further part."""
        for number, request in enumerate(requests):
            if self.run.ended:
                return True
            if part.is_cut():
                self.behind.asked = requests[number:]
                self._take(part)
                return False
            if self.run.behind and self._unfinished(part.history, part.at):
                self.behind.asked = requests[number:]
                return False
            for event in () if self.behind.holds_up(request) else decide(self.run, request):
                recorded = part.next()
                if recorded is None or not alike(event, recorded):
                    raise self._differs(event, request, part.history, part.at, program)
                self._take(part)
            part.recorded += 1
        return True

    def _take(self, part: "Part") -> None:
        self.run = evolve(self.run, part.history[part.at].event)
        part.at += 1

    def _differs(
        self, asked: e.Event | None, request: Request | None, history: Sequence[e.Recorded], at: int, program: Program
    ) -> Nondeterminism:
        recorded = history[at].event if at < len(history) else None
        told = difference(asked, recorded, at + 1, history[:at], program.where(request))
        return Nondeterminism(self.run.run_id, told)


class Part:
    """Where a replay is in a history, and what it has compared and heard since a turn began or was cut."""

    __slots__ = ("at", "heard", "history", "recorded")

    def __init__(self, history: Sequence[e.Recorded], at: int) -> None:
        self.history = history
        self.at = at
        self.recorded = 0
        self.heard = 0

    def next(self) -> e.Event | None:
        return self.history[self.at].event if self.at < len(self.history) else None

    def is_cut(self) -> bool:
        event = self.next()
        return type(event) is e.TurnCut and (event.requests, event.heard) == (self.recorded, self.heard)


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
    e.TurnCut,
    e.TurnEnded,
)
