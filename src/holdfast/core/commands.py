"""What may be asked of a run: by its users, by workers and timers, and by its own code.

Laws of this file:
- A command carries its identity from birth; which run it is for stands in its envelope (`Addressed`).
- Time is an input: what needs a clock has it in `at`, in microseconds since the epoch.
"""

from typing import final

import msgspec

from holdfast.core.parent import Parent
from holdfast.core.payload import NOTHING, Payload
from holdfast.core.retry import Failure, RetrySchedule


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all commands."""


@final
class StartRun(Asked, frozen=True, kw_only=True):
    """Begin a run, unless it exists; a child of `parent` answers that one."""

    workflow: str
    version: str = ""
    input: Payload = NOTHING
    attributes: dict[str, str] = {}
    parent: Parent | None = None


@final
class SignalRun(Asked, frozen=True, kw_only=True):
    """Tell a run something; `seen` when its message id was taken before.

    `carried` on by the run itself, from an earlier incarnation.
    """

    name: str
    message_id: str
    input: Payload = NOTHING
    seen: bool = False
    carried: bool = False


class CancelRun(Asked, frozen=True, kw_only=True):
    """Ask a run to stop by itself; a `message_id` counts once, if there is one."""

    reason: str = ""
    message_id: str = ""


class TerminateRun(Asked, frozen=True, kw_only=True):
    """End a run without asking its code."""

    reason: str = ""


class ResumeRun(Asked, frozen=True, kw_only=True):
    """Let a parked run go on."""

    by: str = ""


class PurgeRun(Asked, frozen=True, kw_only=True):
    """Forget an ended run; a tombstone stays, so that its id is not new again."""


class ResolveEffect(Asked, frozen=True, kw_only=True):
    """Decide on a parked effect: `verdict` is succeeded (with `result`), failed (with `error`), or retry.

    `version` of the effect as the person saw it.
    """

    step_id: str
    version: int
    verdict: str
    by: str
    reason: str
    result: Payload | None = None
    error: Failure | None = None


class HearChild(Asked, frozen=True, kw_only=True):
    """The word of the run `child` that a step has called: it has started (RUNNING), or how it ended.

    REFUSED, with an error: the run id of the child is another run's.
    """

    step_id: str
    child: str
    status: str
    result: Payload | None = None
    error: Failure | None = None
    reason: str = ""


class CloseChild(Asked, frozen=True, kw_only=True):
    """The step that called a run wants it to end: `how` is cancel or terminate."""

    parent: Parent
    how: str


@final
class CompleteStep(Asked, frozen=True, kw_only=True):
    """An attempt succeeded."""

    step_id: str
    attempt: int
    result: Payload


class FailStep(Asked, frozen=True, kw_only=True):
    """An attempt failed. Of an effect, `ledger` is the state in which it left the effect.

    A further attempt makes no sense before `not_before` (microseconds).
    """

    step_id: str
    attempt: int
    error: Failure
    at: int = 0
    ledger: str = ""
    not_before: int | None = None


class HearLedger(Asked, frozen=True, kw_only=True):
    """The ledger's word on an effect: the state it is in; `attempt` if a worker passes it on.

    Of a plain step, PARKED is its worker's own word: it cannot be executed without ending the process.
    """

    step_id: str
    state: str
    attempt: int | None = None
    result: Payload | None = None
    error: Failure | None = None
    reason: str = ""


class AttemptStep(Asked, frozen=True, kw_only=True):
    """The wait before a further attempt is over."""

    step_id: str
    attempt: int


class FireTimer(Asked, frozen=True, kw_only=True):
    """A durable wait is over."""

    timer_id: str


class ContinueTurn(Asked, frozen=True, kw_only=True):
    """Let the code go on whose turn was cut at the event `cut`; 0: wherever it was cut last."""

    cut: int = 0


class ParkRun(Asked, frozen=True, kw_only=True):
    """The run cannot go on without a person."""

    reason: str
    detail: str = ""


@final
class ScheduleStep(Asked, frozen=True, kw_only=True):
    """The code calls a step."""

    step_id: str
    name: str
    kind: str
    input: Payload
    input_hash: bytes
    queue: str = "default"
    retry: RetrySchedule = RetrySchedule()
    timeout: float = 600.0
    total_timeout: float | None = None
    heartbeat: float | None = None
    guard: str | None = None
    key: str | None = None
    at: int = 0


class AbandonStep(Asked, frozen=True, kw_only=True):
    """The code no longer waits for a step."""

    step_id: str


class WithdrawStep(Asked, frozen=True, kw_only=True):
    """The code no longer wants an effect that may have been sent; it waits for the verdict."""

    step_id: str


class StartChild(Asked, frozen=True, kw_only=True):
    """The code calls another workflow, which is to run under `run_id`; `detached` waits for its start alone."""

    step_id: str
    workflow: str
    version: str
    run_id: str
    input: Payload
    input_hash: bytes
    parent_close: str
    detached: bool = False


class CancelChild(Asked, frozen=True, kw_only=True):
    """The code no longer wants a child; it waits for its end."""

    step_id: str


class StartTimer(Asked, frozen=True, kw_only=True):
    """The code waits until `due_at` (microseconds)."""

    timer_id: str
    due_at: int


class CancelTimer(Asked, frozen=True, kw_only=True):
    """The code no longer waits."""

    timer_id: str


class RefuseSignal(Asked, frozen=True, kw_only=True):
    """The code waited for a signal of another type."""

    message_id: str
    name: str
    input: Payload
    detail: str


@final
class CompleteRun(Asked, frozen=True, kw_only=True):
    """The workflow returned."""

    result: Payload


class FailRun(Asked, frozen=True, kw_only=True):
    """The workflow raised."""

    error: Failure


class ConcludeCancel(Asked, frozen=True, kw_only=True):
    """The workflow ended by the cancellation it was asked for."""


class ContinueRun(Asked, frozen=True, kw_only=True):
    """The workflow goes on as new with `input`; `unread` are the signals that it has not taken."""

    input: Payload
    unread: tuple[SignalRun, ...] = ()


Command = (
    StartRun
    | SignalRun
    | CancelRun
    | TerminateRun
    | ResumeRun
    | PurgeRun
    | ResolveEffect
    | CompleteStep
    | FailStep
    | HearLedger
    | AttemptStep
    | FireTimer
    | ContinueTurn
    | ParkRun
    | ScheduleStep
    | AbandonStep
    | WithdrawStep
    | StartTimer
    | CancelTimer
    | RefuseSignal
    | CompleteRun
    | FailRun
    | ConcludeCancel
    | HearChild
    | CloseChild
    | StartChild
    | CancelChild
    | ContinueRun
)
Request = (
    ScheduleStep
    | AbandonStep
    | WithdrawStep
    | StartTimer
    | CancelTimer
    | RefuseSignal
    | CompleteRun
    | FailRun
    | ConcludeCancel
    | StartChild
    | CancelChild
    | ContinueRun
)


class Addressed(msgspec.Struct, frozen=True):
    """A command and the run it is for; `incarnation` of None means the run's present one."""

    run_id: str
    command: Command
    incarnation: int | None = None


@final
class ExecuteStep(msgspec.Struct, frozen=True, kw_only=True):
    """The task that a worker takes from its queue: one attempt of a step."""

    run_id: str
    incarnation: int
    step_id: str
    attempt: int
    name: str
    kind: str
    queue: str
    input: Payload
    timeout: float
    workflow: str = ""
    heartbeat: float | None = None
    guard: str | None = None
    key: str | None = None


class StepResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says of an attempt: `result` when it succeeded, else `error`.

    Of an effect, `ledger` is the state in which the attempt left it, with the `reason` of parking; a further attempt
    makes no sense before `not_before` (microseconds).
    """

    run_id: str
    incarnation: int
    step_id: str
    attempt: int
    result: Payload | None = None
    error: Failure | None = None
    ledger: str = ""
    reason: str = ""
    not_before: int | None = None


@final
class RunOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The terminal event of a run, as its consumers want it; times in microseconds."""

    run_id: str
    workflow: str
    version: str
    status: str
    result: Payload | None = None
    error: Failure | None = None
    attributes: dict[str, str] = {}
    started_at: int = 0
    ended_at: int = 0
