"""The given/when/then of runs: given these events, when this command, then those events.

Or: given these events, when another happens, then the outside is told that.
"""

from collections.abc import Callable

import pytest

from holdfast.core import events as e
from holdfast.core.commands import Command, ScheduleStep
from holdfast.core.identity import digest
from holdfast.core.messages import Message
from holdfast.core.payload import Payload
from holdfast.core.react import react
from holdfast.core.retry import Failure, RetrySchedule
from holdfast.core.run import DeadLetter, Run, decide, evolve

RUN_ID = "order-1042"
SECOND = 1_000_000
NOON = 1_700_000_000 * SECOND
TIMEOUT = Failure("TimeoutError", "it took too long", kinds=("builtins.TimeoutError", "builtins.OSError"))


def payload(text: str) -> Payload:
    return Payload(data=text.encode())


class When:
    """What a command leads to."""

    def __init__(self, run: Run, command: Command) -> None:
        self._run = run
        self._command = command

    def then(self, *expected: e.Event) -> Run:
        """These events follow, no more and no less; gives the run after them."""
        happened = decide(self._run, self._command)
        assert happened == expected
        return fold(self._run, *happened)

    def then_nothing(self) -> None:
        assert decide(self._run, self._command) == ()

    def then_refused(self, reason: str) -> None:
        """The command can never be handled."""
        with pytest.raises(DeadLetter) as refused:
            decide(self._run, self._command)
        assert refused.value.reason == reason


class Happens:
    """What an event makes the outside hear."""

    def __init__(self, run: Run, event: e.Event) -> None:
        self._run = run
        self._event = event

    def tells(self, *expected: Message) -> None:
        """These messages follow, no more and no less."""
        assert react(self._run, self._event) == expected

    def tells_nothing(self) -> None:
        assert react(self._run, self._event) == ()


class Given:
    """A run with a past."""

    def __init__(self, *past: e.Event) -> None:
        self.run = fold(Run(RUN_ID), *past)

    def when(self, command: Command) -> When:
        return When(self.run, command)

    def happens(self, event: e.Event) -> Happens:
        return Happens(self.run, event)

    def state(self) -> Run:
        return self.run


given: Callable[..., Given] = Given


def fold(run: Run, *events: e.Event) -> Run:
    for event in events:
        run = evolve(run, event)
    return run


def started(workflow: str = "order", data: str = "1") -> e.RunStarted:
    return e.RunStarted(workflow=workflow, version="1", input=payload(data))


def asked(
    step_id: str = "read#1",
    *,
    name: str = "read",
    retry: RetrySchedule | None = None,
    total_timeout: float | None = None,
) -> ScheduleStep:
    """The code's call of a step."""
    return ScheduleStep(
        step_id=step_id,
        name=name,
        kind="step",
        input=payload("1"),
        input_hash=digest(b"1"),
        retry=retry or RetrySchedule(jitter=0.0),
        total_timeout=total_timeout,
        at=NOON,
    )


def scheduled(
    step_id: str = "read#1",
    *,
    name: str = "read",
    retry: RetrySchedule | None = None,
    deadline: int | None = None,
) -> e.StepScheduled:
    return e.StepScheduled(
        step_id=step_id,
        name=name,
        kind="step",
        input=payload("1"),
        input_hash=digest(b"1"),
        queue="default",
        retry=retry or RetrySchedule(jitter=0.0),
        timeout=600.0,
        deadline=deadline,
    )


def completed(step_id: str = "read#1", attempt: int = 1, data: str = "2") -> e.StepCompleted:
    return e.StepCompleted(step_id=step_id, attempt=attempt, result=payload(data))


def retried(step_id: str = "read#1", attempt: int = 2, due_at: int = NOON) -> e.StepRetried:
    return e.StepRetried(step_id=step_id, attempt=attempt, due_at=due_at, error=TIMEOUT)


def attempted(step_id: str = "read#1", attempt: int = 2) -> e.StepAttempted:
    return e.StepAttempted(step_id=step_id, attempt=attempt)


def ended() -> e.RunCompleted:
    return e.RunCompleted(result=payload("9"))


def parked(reason: str = "nondeterminism") -> e.RunParked:
    return e.RunParked(reason=reason, detail="why")
