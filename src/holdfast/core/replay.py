"""Driving a workflow's code: live, and again from its history.

Laws of this file:
- Exactly one event is applied, the code runs until it is quiet, then the next; the same live and in replay.
- Replay compares every request of the code with the history; a difference parks the run with a diff, it never fails it.
- While a run is parked, what comes in is recorded and waits; the event whose turn could not be finished waits with it.
"""

from collections.abc import Sequence
from typing import Protocol

from holdfast.core import events as e
from holdfast.core.commands import Command, ParkRun, Request, ResumeRun
from holdfast.core.run import RUNNING, Run, decide, evolve


class Program(Protocol):
    """A workflow's code, standing still between two events."""

    def apply(self, event: e.Event, at: int) -> Sequence[Request]:
        """Tell the code of `event` at time `at`, run it until it is quiet, and return what it asks for, in order.

        Raises:
            ProgramStuck: the code cannot go on (unknown workflow, input that does not fit, engine error).
        """


class ProgramStuck(Exception):
    """The code cannot go on without a person; `reason` is one word for machines, the text says what to do."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Nondeterminism(ProgramStuck):
    """The code asked for something else than the history tells."""

    def __init__(self, run_id: str, seq: int, asked: str, recorded: str) -> None:
        super().__init__(
            "nondeterminism",
            f"the code asked for {asked}, history has {recorded} at seq {seq}\n"
            "The workflow changed under a running run. Deploy the old code, then: holdfast resume " + run_id,
        )


def advance(run: Run, program: Program | None, command: Command, at: int) -> tuple[Run, list[e.Event]]:
    """Handle one command live: decide, run the code, decide on its requests.

    With `program` None (a parked or ended run) only the command's own events follow. Code that is stuck parks the
    run: the event that it could not take is the last before `RunParked`, and waits.

    Raises:
        DeadLetter: the command can never be handled; nothing changed.
    """
    happened: list[e.Event] = []
    for event in decide(run, command):
        run = evolve(run, event)
        happened.append(event)
        if program is not None and isinstance(event, e.INPUTS):
            run = take_turn(run, program, event, at, happened)
    return run, happened


def resume(rebuilt: "Rebuilt", program: Program, command: ResumeRun, at: int) -> tuple[Run, list[e.Event]]:
    """Let a parked run go on: its code hears what came in meanwhile, in order."""
    run = rebuilt.run
    happened: list[e.Event] = []
    for event in decide(run, command):
        run = evolve(run, event)
        happened.append(event)
    while rebuilt.waiting and run.status == RUNNING:
        run = take_turn(run, program, rebuilt.waiting.pop(0).event, at, happened)
    return run, happened


def take_turn(run: Run, program: Program, event: e.Event, at: int, happened: list[e.Event]) -> Run:
    """Tell the code of `event` and record what it asks for, or that it is stuck."""
    requests: Sequence[Command]
    try:
        requests = program.apply(event, at)
    except ProgramStuck as stuck:
        requests = [ParkRun(reason=stuck.reason, detail=str(stuck))]
    return ask(run, requests, happened)


def ask(run: Run, requests: Sequence[Command], happened: list[e.Event]) -> Run:
    """Turn the code's requests into events, appended to `happened`; what follows the run's end is dropped."""
    for request in requests:
        if run.ended:
            break
        for event in decide(run, request):
            run = evolve(run, event)
            happened.append(event)
    return run


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
        at = 0
        while at < len(history):
            recorded = history[at]
            at += 1
            event = recorded.event
            self.run = evolve(self.run, event)
            if isinstance(event, e.INPUTS):
                if self.run.parked is not None or self._unfinished(history, at):
                    self.waiting.append(recorded)
                else:
                    at = self._compare(history, at, program.apply(event, recorded.at))
            elif isinstance(event, e.RunResumed):
                at = self._resume(history, at, program)
            elif isinstance(event, REQUESTED):
                raise Nondeterminism(self.run.run_id, recorded.seq, "nothing more", describe(event))
        return self.run

    def _unfinished(self, history: Sequence[e.Recorded], at: int) -> bool:
        return at < len(history) and isinstance(history[at].event, e.RunParked)

    def _resume(self, history: Sequence[e.Recorded], at: int, program: Program) -> int:
        while self.waiting:
            recorded = self.waiting[0]
            if self._unfinished(history, at):
                break
            requests = program.apply(recorded.event, history[at - 1].at)
            del self.waiting[0]
            at = self._compare(history, at, requests)
        return at

    def _compare(self, history: Sequence[e.Recorded], at: int, requests: Sequence[Request]) -> int:
        for request in requests:
            if self.run.ended:
                break
            for event in decide(self.run, request):
                if at >= len(history):
                    raise Nondeterminism(self.run.run_id, self.run.seq + 1, describe(event), "nothing more")
                recorded = history[at]
                if not alike(event, recorded.event):
                    raise Nondeterminism(self.run.run_id, recorded.seq, describe(event), describe(recorded.event))
                self.run = evolve(self.run, recorded.event)
                at += 1
        return at


REQUESTED = (
    e.StepScheduled,
    e.StepAbandoned,
    e.StepWithdrawn,
    e.TimerStarted,
    e.TimerCancelled,
    e.SignalRefused,
    e.RunCompleted,
    e.RunFailed,
    e.RunCancelled,
)


def alike(asked: e.Event, recorded: e.Event) -> bool:
    """Compare kind, identity and arguments; options such as timeouts may change between deploys."""
    if type(asked) is not type(recorded):
        return False
    if isinstance(asked, e.StepScheduled) and isinstance(recorded, e.StepScheduled):
        return (asked.step_id, asked.name, asked.input_hash) == (recorded.step_id, recorded.name, recorded.input_hash)
    if isinstance(asked, e.TimerStarted) and isinstance(recorded, e.TimerStarted):
        return asked.timer_id == recorded.timer_id
    if isinstance(asked, (e.StepAbandoned, e.StepWithdrawn)) and isinstance(
        recorded, (e.StepAbandoned, e.StepWithdrawn)
    ):
        return asked.step_id == recorded.step_id
    if isinstance(asked, e.SignalRefused) and isinstance(recorded, e.SignalRefused):
        return asked.message_id == recorded.message_id
    if isinstance(asked, e.TimerCancelled) and isinstance(recorded, e.TimerCancelled):
        return asked.timer_id == recorded.timer_id
    return True


def describe(event: e.Event) -> str:
    """Name an event in an error."""
    match event:
        case e.StepScheduled(step_id=step_id, kind=kind):
            return f'{kind} "{step_id}"'
        case e.StepAbandoned(step_id=step_id):
            return f'the end of waiting for "{step_id}"'
        case e.StepWithdrawn(step_id=step_id):
            return f'the withdrawal of "{step_id}"'
        case e.TimerStarted(timer_id=timer_id):
            return f'timer "{timer_id}"'
        case e.SignalRefused(name=name, message_id=message_id):
            return f'the refusal of signal "{name}" ({message_id})'
        case e.TimerCancelled(timer_id=timer_id):
            return f'the cancelling of timer "{timer_id}"'
        case _:
            return f"{type(event).__name__}"
