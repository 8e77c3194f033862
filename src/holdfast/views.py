"""A run as people and scripts look at it: made of its history, with nothing else.

Laws of this file:
- Pure: the rows go in, plain values come out, ready for JSON. Times are ISO 8601, UTC.
- A running run without an open attempt is SUSPENDED: it waits for a timer, a signal or a retry.
"""

from collections.abc import Mapping

import msgspec

from holdfast.app.records import rfc3339
from holdfast.core import events as e
from holdfast.core.payload import JSON, Payload
from holdfast.core.retry import Failure
from holdfast.core.run import RUNNING, SUSPENDED, Run, evolve
from holdfast.ports.codec import Codec
from holdfast.ports.store import RunRow, StoredEvent, StoredRun

SCHEDULED = "SCHEDULED"
RETRYING = "RETRYING"
COMPLETED = "COMPLETED"
FAILED = "FAILED"
ABANDONED = "ABANDONED"

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
    for one in stored.history:
        event = codec.decode_event(one.type, one.data)
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
        "parked": None if run.parked is None else why_parked(run.parked),
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
        case e.StepAbandoned(step_id=step_id):
            steps[step_id].state = ABANDONED
        case _:
            pass


def status_of(run: Run) -> str:
    """Tell a run's status as it is shown."""
    waits = run.status == RUNNING and all(step.due_at is not None for step in run.open_steps.values())
    return SUSPENDED if waits else run.status


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
            return f"is {run.status}" if run.parked is None else f"is parked: {why_parked(run.parked)}"


def why_parked(parked: e.RunParked) -> str:
    """Give the reason in a word, and what there is to say about it."""
    return f"{parked.reason}: {parked.detail}" if parked.detail else parked.reason


def listed(row: RunRow) -> dict[str, object]:
    """Tell what a list tells of a run."""
    return {
        "run_id": row.run_id,
        "workflow": row.workflow,
        "version": row.version,
        "status": row.status,
        "attributes": row.attributes,
        "started_at": rfc3339(row.started_at),
        "ended_at": None if row.ended_at is None else rfc3339(row.ended_at),
        "shard": row.shard,
        "parked": row.parked,
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
        except msgspec.DecodeError:
            pass
    return {**msgspec.to_builtins(payload), "data": payload.data.hex()}
