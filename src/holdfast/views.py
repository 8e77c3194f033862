"""A run as people and scripts look at it: made of its history, with nothing else.

Laws of this file:
- Pure: the rows go in, plain values come out, ready for JSON. Times are ISO 8601, UTC.
- A running run without an open attempt is SUSPENDED: it waits for a timer, a signal or a retry. It is PARKED when only
  a person can move it: the run itself is parked, or all that it waits for are parked steps and effects.
"""

from collections.abc import Mapping, Sequence

import msgspec

from holdfast.app.records import rfc3339
from holdfast.child_views import children_of, parent_of
from holdfast.core import events as e
from holdfast.core.payload import JSON, Payload
from holdfast.core.retry import Failure
from holdfast.core.run import PARKED, RUNNING, SUSPENDED, Run, evolve
from holdfast.core.sharing import ordered
from holdfast.ports.codec import Codec
from holdfast.ports.journal import RunRow, StoredEvent, StoredRun

SCHEDULED = "SCHEDULED"
RETRYING = "RETRYING"
COMPLETED = "COMPLETED"
FAILED = "FAILED"
CANCELLED = "CANCELLED"
ABANDONED = "ABANDONED"

_OF_SIGNALS = frozenset({e.SignalReceived.__name__, e.SignalRefused.__name__})
_INSTANTS = frozenset({"due_at", "deadline"})


class _StepView(msgspec.Struct):
    id: str
    name: str
    state: str = SCHEDULED
    attempts: int = 1
    error: dict[str, object] | None = None


def describe(stored: StoredRun, codec: Codec, blobs: Mapping[str, bytes] | None = None) -> dict[str, object]:
    """Tell all about a run; a large result is told whole if its bytes are in `blobs`."""
    row = stored.row
    run = Run(row.run_id, row.incarnation)
    steps: dict[str, _StepView] = {}
    result: object = None
    error: dict[str, object] | None = None
    happened: list[e.Event] = []
    for one in stored.history:
        event = codec.decode_event(one.type, one.data)
        happened.append(event)
        run = evolve(run, event)
        _note(steps, event)
        if isinstance(event, e.RunCompleted):
            result = value_of(event.result, blobs)
        elif isinstance(event, e.RunFailed):
            error = failure(event.error)
    if run.ended:
        for step in steps.values():
            step.state = ABANDONED if step.state in {SCHEDULED, RETRYING} else step.state
    return {
        "run_id": row.run_id,
        "incarnation": row.incarnation,
        "workflow": row.workflow,
        "version": row.version,
        "status": status_of(run),
        "result": result,
        "error": error,
        "attributes": row.attributes,
        "started_at": rfc3339(row.started_at),
        "ended_at": None if row.ended_at is None else rfc3339(row.ended_at),
        "shard": row.shard,
        "steps": [msgspec.to_builtins(step) for step in steps.values()],
        "children": [msgspec.to_builtins(child) for child in children_of(happened)],
        "parent": parent_of(run),
        "parked": why_it_stands(run),
    }


def _note(steps: dict[str, _StepView], event: e.Event) -> None:
    match event:
        case e.StepScheduled(step_id=step_id, name=name):
            steps[step_id] = _StepView(step_id, name)
        case e.StepRetried(step_id=step_id, attempt=attempt, error=error):
            step = steps[step_id]
            step.state, step.attempts, step.error = RETRYING, attempt - 1, failure(error)
        case e.StepAttempted(step_id=step_id, attempt=attempt):
            step = steps[step_id]
            step.state, step.attempts = SCHEDULED, attempt
        case e.StepCompleted(step_id=step_id):
            step = steps[step_id]
            step.state, step.error = COMPLETED, None
        case e.StepFailed(step_id=step_id, error=error):
            step = steps[step_id]
            step.state, step.error = FAILED, failure(error)
        case e.StepExhausted(step_id=step_id, error=error):
            steps[step_id].error = failure(error)
        case e.StepParked(step_id=step_id):
            steps[step_id].state = PARKED
        case e.StepCancelled(step_id=step_id):
            steps[step_id].state = CANCELLED
        case e.StepAbandoned(step_id=step_id):
            steps[step_id].state = ABANDONED
        case _:
            pass


def status_of(run: Run) -> str:
    """Tell a run's status as it is shown."""
    if run.status != RUNNING:
        return run.status
    if run.stands is not None:
        return PARKED
    waits = all(step.due_at is not None for step in run.open_steps.values())
    return SUSPENDED if waits else RUNNING


def state_of(stored: StoredRun, codec: Codec) -> Run:
    """Fold a stored history."""
    run = Run(stored.row.run_id, stored.row.incarnation)
    for one in stored.history:
        run = evolve(run, codec.decode_event(one.type, one.data))
    return run


def large_result(stored: StoredRun, codec: Codec) -> str | None:
    """Name the blob that the run's result is kept in, if it is."""
    last = stored.history[-1]
    if last.type != e.RunCompleted.__name__:
        return None
    event = codec.decode_event(last.type, last.data)
    return event.result.blob if isinstance(event, e.RunCompleted) else None


def cancellations(stored: StoredRun) -> Sequence[StoredEvent]:
    """Give the requests to cancel a run."""
    return [one for one in stored.history if one.type == e.CancelRequested.__name__]


def heard(stored: StoredRun, codec: Codec, message_id: str) -> str | None:
    """Tell what became of a signal: empty if it was taken, why it was refused, None if it is not there."""
    found: str | None = None
    for one in stored.history:
        if one.type in _OF_SIGNALS:
            event = codec.decode_event(one.type, one.data)
            if isinstance(event, e.SignalReceived) and event.message_id == message_id:
                found = ""
            elif isinstance(event, e.SignalRefused) and event.message_id == message_id:
                found = event.detail
    return found


def why(stored: StoredRun, codec: Codec) -> str:
    """Say in a sentence why a run ended otherwise than completed, or stands still."""
    ended = codec.decode_event(stored.history[-1].type, stored.history[-1].data)
    match ended:
        case e.RunFailed(error=error):
            return f"failed: {error.type}: {error.message}" + (f" (step {error.step})" if error.step else "")
        case e.RunTerminated(reason=reason):
            return f"was terminated: {reason or 'no reason was given'}"
        case e.RunCancelled():
            asked = [
                event.reason
                for event in (codec.decode_event(one.type, one.data) for one in stored.history)
                if isinstance(event, e.CancelRequested)
            ]
            return "was cancelled" + (f": {asked[-1]}" if asked and asked[-1] else "")
        case _:
            run = state_of(stored, codec)
            standing = why_it_stands(run)
            return f"is {status_of(run)}" if standing is None else f"is parked: {standing}"


def why_it_stands(run: Run) -> str | None:
    """Give the reason in a word, and what there is to say about it; None while something in the run can move."""
    if run.parked is not None:
        return f"{run.parked.reason}: {run.parked.detail}" if run.parked.detail else run.parked.reason
    if run.stands is None:
        return None
    words = ((step_id, run.open_steps[step_id].parked or "") for step_id in parked_steps(run))
    told = (f"{step_id}: {reason.removeprefix(f'{run.stands}: ')}" for step_id, reason in words)
    return f"{run.stands}: {'; '.join(told)}"


def parked_steps(run: Run) -> list[str]:
    """Name the steps and effects that wait for a person, in the order they were asked for."""
    return [step_id for step_id in ordered(run.open_steps) if run.open_steps[step_id].parked is not None]


def parked_effects(run: Run) -> list[str]:
    """Name the effects that wait for a person, in the order they were asked for."""
    return [step_id for step_id in parked_steps(run) if run.open_steps[step_id].is_effect]


def what_next(run: Run) -> list[str]:
    """Give the commands that let a parked run, or what waits in it for a person, go on."""
    if run.parked is not None:
        return [f"holdfast resume {run.run_id}"]
    again = [f"holdfast resume {run.run_id}"] if run.parked_plainly else []
    return again + [decide_on(run.run_id, step_id) for step_id in parked_effects(run)]


def decide_on(run_id: str, step_id: str) -> str:
    """Write the command that decides on a parked effect."""
    verdict = "(--succeeded JSON | --failed REASON | --retry)"
    return f"holdfast resolve {run_id}/{step_id} {verdict} --by WHO --reason WHY"


def listed(row: RunRow, effects: Sequence[str] = ()) -> dict[str, object]:
    """Tell what a list tells of a run; `effects` are those that it stands by."""
    return {
        "run_id": row.run_id,
        "workflow": row.workflow,
        "version": row.version,
        "status": row.status,
        "attributes": row.attributes,
        "started_at": rfc3339(row.started_at),
        "ended_at": None if row.ended_at is None else rfc3339(row.ended_at),
        "shard": row.shard,
        "parked": f"{row.parked}: {', '.join(effects)}" if effects else row.parked,
    }


def told(one: StoredEvent, codec: Codec) -> dict[str, object]:
    """Tell an event of a history."""
    event = codec.decode_event(one.type, one.data)
    return {"seq": one.seq, "type": one.type, "at": rfc3339(one.at), "data": _fields(event)}


def _fields(struct: msgspec.Struct) -> dict[str, object]:
    plain: dict[str, object] = {}
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if name in _INSTANTS and isinstance(value, int):
            plain[name] = rfc3339(value)
        elif isinstance(value, Payload):
            plain[name] = value_of(value)
        elif isinstance(value, msgspec.Struct):
            plain[name] = _fields(value)
        elif isinstance(value, bytes):
            plain[name] = value.hex()
        else:
            plain[name] = msgspec.to_builtins(value)
    return plain


def failure(error: Failure) -> dict[str, object]:
    """Tell a failure as outcomes do."""
    return {"type": error.type, "message": error.message, "step": error.step}


def value_of(payload: Payload, blobs: Mapping[str, bytes] | None = None) -> object:
    """Read the author's value; what cannot be read here is told as the payload that it is."""
    data = payload.data if payload.blob is None else (blobs or {}).get(payload.blob)
    if data is not None and payload.content_type == JSON and not payload.encoding:
        try:
            return msgspec.json.decode(data)
        except (ValueError, RecursionError):  # what came by the bus need not be JSON
            pass
    return {**msgspec.to_builtins(payload), "data": payload.data.hex()}
