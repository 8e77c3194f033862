"""The facts of a run, in the order they became true. Their names and fields are public: `schemas/` has one record each.

Laws of this file:
- An event is never changed once it is released: fields are only added, with a default.
- Some events come from outside (`INPUTS`: the workflow's code hears of them); all others are the engine's or the
  code's own, recorded so that a replay can compare.
"""

from typing import final

import msgspec

from holdfast.core.parent import Parent
from holdfast.core.payload import Payload
from holdfast.core.retry import Failure, RetrySchedule


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all events."""


@final
class RunStarted(Fact, frozen=True, kw_only=True):
    """A run exists, or its next incarnation; `parent` is the step that called it, if one did.

    Of a later incarnation, `origin` is the input that the run was first started with, and `cancels` are the ids of the
    requests to cancel it that were heard before.
    """

    workflow: str
    version: str
    input: Payload
    attributes: dict[str, str] = {}
    parent: Parent | None = None
    origin: Payload | None = None
    cancels: tuple[str, ...] = ()


@final
class StepScheduled(Fact, frozen=True, kw_only=True):
    """The code asked for a step; attempt 1 is to be executed. Times in seconds, `deadline` in microseconds."""

    step_id: str
    name: str
    kind: str
    input: Payload
    input_hash: bytes
    queue: str
    retry: RetrySchedule
    timeout: float
    deadline: int | None = None
    heartbeat: float | None = None
    guard: str | None = None
    key: str | None = None


class StepRetried(Fact, frozen=True, kw_only=True):
    """Attempt `attempt - 1` failed; `attempt` is due at `due_at` (microseconds)."""

    step_id: str
    attempt: int
    due_at: int
    error: Failure


class StepAttempted(Fact, frozen=True, kw_only=True):
    """The wait before `attempt` is over; it is to be executed."""

    step_id: str
    attempt: int


@final
class StepCompleted(Fact, frozen=True, kw_only=True):
    """An attempt succeeded and the step is settled."""

    step_id: str
    attempt: int
    result: Payload


class StepFailed(Fact, frozen=True, kw_only=True):
    """The last attempt failed and the step is settled."""

    step_id: str
    attempt: int
    error: Failure


class StepAbandoned(Fact, frozen=True, kw_only=True):
    """The code no longer waits for the step; a late result writes nothing."""

    step_id: str


class StepWithdrawn(Fact, frozen=True, kw_only=True):
    """The code no longer wants the effect; the ledger is asked to close it, and the code waits for its verdict."""

    step_id: str


class StepExhausted(Fact, frozen=True, kw_only=True):
    """No further attempt of the effect is scheduled; the ledger is asked to close it, or to park it."""

    step_id: str
    attempt: int
    error: Failure


class StepCancelled(Fact, frozen=True, kw_only=True):
    """The ledger has closed the effect before anything was sent, and the step is settled."""

    step_id: str


class StepParked(Fact, frozen=True, kw_only=True):
    """The step waits for a person, and the code for it: an effect is unclear, or a worker died of the step."""

    step_id: str
    reason: str


class ResolutionRequested(Fact, frozen=True, kw_only=True):
    """A person has decided on a parked effect; the ledger is asked to record it."""

    step_id: str
    version: int
    verdict: str
    by: str
    reason: str
    result: Payload | None = None
    error: Failure | None = None


class ChildScheduled(Fact, frozen=True, kw_only=True):
    """The code called another workflow: it is to run under `run_id`, and answer.

    `parent_close` (terminate, cancel, abandon): what becomes of it if its parent ends first.
    """

    step_id: str
    workflow: str
    version: str
    run_id: str
    input: Payload
    input_hash: bytes
    parent_close: str
    detached: bool = False


class ChildStarted(Fact, frozen=True, kw_only=True):
    """The child exists; of a detached one the code waits for nothing more."""

    step_id: str


class ChildCompleted(Fact, frozen=True, kw_only=True):
    """The child returned."""

    step_id: str
    result: Payload


class ChildFailed(Fact, frozen=True, kw_only=True):
    """The child failed, or its run id is another run's."""

    step_id: str
    error: Failure


class ChildCancelled(Fact, frozen=True, kw_only=True):
    """The child ended by a cancellation, this run's or somebody else's."""

    step_id: str


class ChildTerminated(Fact, frozen=True, kw_only=True):
    """A person ended the child without asking its code."""

    step_id: str
    reason: str = ""


class ChildCancelRequested(Fact, frozen=True, kw_only=True):
    """The code no longer wants the child; the child is asked to stop, and the code waits for its end."""

    step_id: str


class TimerStarted(Fact, frozen=True, kw_only=True):
    """The code waits until `due_at` (microseconds)."""

    timer_id: str
    due_at: int


class TimerFired(Fact, frozen=True, kw_only=True):
    """A durable wait is over."""

    timer_id: str


class TimerCancelled(Fact, frozen=True, kw_only=True):
    """The code no longer waits."""

    timer_id: str


class SignalReceived(Fact, frozen=True, kw_only=True):
    """A message to the run; `carried` on if an earlier incarnation had it and did not take it."""

    message_id: str
    name: str
    input: Payload
    carried: bool = False


class SignalRefused(Fact, frozen=True, kw_only=True):
    """The code waited for a signal of another type; it is put aside whole, and the wait goes on."""

    message_id: str
    name: str
    input: Payload
    detail: str = ""


class CancelRequested(Fact, frozen=True, kw_only=True):
    """Somebody asked the run to stop by itself."""

    reason: str = ""
    message_id: str = ""


class RunParked(Fact, frozen=True, kw_only=True):
    """The run stands still, with a reason, until a person decides."""

    reason: str
    detail: str = ""


class RunResumed(Fact, frozen=True, kw_only=True):
    """A person decided that the run goes on."""

    by: str = ""


@final
class RunCompleted(Fact, frozen=True, kw_only=True):
    """The workflow returned."""

    result: Payload


class RunFailed(Fact, frozen=True, kw_only=True):
    """The workflow raised."""

    error: Failure


class RunCancelled(Fact, frozen=True, kw_only=True):
    """The workflow ended by the cancellation that was requested."""

    reason: str = ""


class RunTerminated(Fact, frozen=True, kw_only=True):
    """A person ended the run without asking its code."""

    reason: str = ""


class RunContinued(Fact, frozen=True, kw_only=True):
    """The code goes on as new: the incarnation is closed, the next one starts with `input`."""

    input: Payload


Outcome = RunCompleted | RunFailed | RunCancelled | RunTerminated
OUTCOMES = (RunCompleted, RunFailed, RunCancelled, RunTerminated)


class TurnCut(Fact, frozen=True, kw_only=True):
    """A turn asked for very much, and goes on: since it began or was last cut, `requests` of them are recorded.

    `heard` is how many inputs the code has heard since, of those that had waited for it.
    """

    requests: int
    heard: int = 0


class TurnEnded(Fact, frozen=True, kw_only=True):
    """A turn that was cut has come to its end, `requests` after the last cut, and the code has heard all till now."""

    requests: int


INPUTS = frozenset(
    {RunStarted, StepCompleted, StepFailed, StepCancelled, TimerFired, SignalReceived, CancelRequested}
    | {ChildStarted, ChildCompleted, ChildFailed, ChildCancelled, ChildTerminated}
)

Event = (
    RunStarted
    | StepScheduled
    | StepRetried
    | StepAttempted
    | StepCompleted
    | StepFailed
    | StepAbandoned
    | StepWithdrawn
    | StepExhausted
    | StepCancelled
    | StepParked
    | ResolutionRequested
    | TimerStarted
    | TimerFired
    | TimerCancelled
    | SignalReceived
    | SignalRefused
    | CancelRequested
    | RunParked
    | RunResumed
    | RunCompleted
    | RunFailed
    | RunCancelled
    | RunTerminated
    | ChildScheduled
    | ChildStarted
    | ChildCompleted
    | ChildFailed
    | ChildCancelled
    | ChildTerminated
    | ChildCancelRequested
    | RunContinued
    | TurnCut
    | TurnEnded
)

TYPES: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        RunStarted,
        StepScheduled,
        StepRetried,
        StepAttempted,
        StepCompleted,
        StepFailed,
        StepAbandoned,
        StepWithdrawn,
        StepExhausted,
        StepCancelled,
        StepParked,
        ResolutionRequested,
        TimerStarted,
        TimerFired,
        TimerCancelled,
        SignalReceived,
        SignalRefused,
        CancelRequested,
        RunParked,
        RunResumed,
        RunCompleted,
        RunFailed,
        RunCancelled,
        RunTerminated,
        ChildScheduled,
        ChildStarted,
        ChildCompleted,
        ChildFailed,
        ChildCancelled,
        ChildTerminated,
        ChildCancelRequested,
        RunContinued,
        TurnCut,
        TurnEnded,
    )
}


class Recorded(msgspec.Struct, frozen=True):
    """An event at its place in a history; `at` in microseconds since the epoch."""

    seq: int
    at: int
    event: Event
