"""How what the code asks for differs from what its history tells, in words for whoever has to mend it.

Laws of this file:
- Kind, identity and arguments are compared; options such as timeouts may change between deploys.
- The text names what differs, shows both, and what came before; it has a limit, whatever the author's values are.
"""

from collections.abc import Sequence

from holdfast.core import events as e
from holdfast.core.payload import JSON, Payload, same

VALUE_LIMIT = 300
"""Characters of an argument that are shown."""
SAME_LIMIT = 40
"""Characters that are shown before those that differ."""
BEFORE = 3
"""Events that are told before the difference."""

NOTHING_MORE = "nothing more"


def alike(asked: e.Event, recorded: e.Event) -> bool:
    """Compare kind, identity and arguments."""
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
    if isinstance(asked, e.ChildScheduled) and isinstance(recorded, e.ChildScheduled):
        return (asked.step_id, asked.workflow, asked.run_id, asked.input_hash) == (
            recorded.step_id,
            recorded.workflow,
            recorded.run_id,
            recorded.input_hash,
        )
    if isinstance(asked, e.ChildCancelRequested) and isinstance(recorded, e.ChildCancelRequested):
        return asked.step_id == recorded.step_id
    if isinstance(asked, e.TimerCancelled) and isinstance(recorded, e.TimerCancelled):
        return asked.timer_id == recorded.timer_id
    if isinstance(asked, e.SignalRefused) and isinstance(recorded, e.SignalRefused):
        return asked.message_id == recorded.message_id
    if isinstance(asked, e.RunContinued) and isinstance(recorded, e.RunContinued):
        return same(asked.input, recorded.input)
    return True


def difference(
    asked: e.Event | None, recorded: e.Event | None, seq: int, before: Sequence[e.Recorded], where: str
) -> str:
    """Tell what the code asks for, what history has at `seq`, and how they differ; `where` is the author's line."""
    wanted = NOTHING_MORE if asked is None else describe(asked)
    had = NOTHING_MORE if recorded is None else describe(recorded)
    lines: list[str] = []
    if isinstance(asked, e.StepScheduled) and isinstance(recorded, e.StepScheduled):
        if asked.step_id == recorded.step_id and asked.name != recorded.name:
            wanted, had = f"{wanted} of {asked.name}()", f"{had} of {recorded.name}()"
        elif asked.step_id == recorded.step_id:
            wanted += " with other arguments"
            lines = differing(text_of(asked.input), text_of(recorded.input))
    if isinstance(asked, e.ChildScheduled) and isinstance(recorded, e.ChildScheduled):
        if asked.run_id != recorded.run_id:
            wanted, had = f"{wanted} as run {asked.run_id}", f"{had} as run {recorded.run_id}"
        elif asked.step_id == recorded.step_id:
            wanted += " with other arguments"
            lines = differing(text_of(asked.input), text_of(recorded.input))
    if isinstance(asked, e.RunContinued) and isinstance(recorded, e.RunContinued):
        wanted += " with another input"
        lines = differing(text_of(asked.input), text_of(recorded.input))
    if where:
        lines.append(where)
    if before:
        lines.append("before it: " + ", ".join(f"{one.seq} {describe(one.event)}" for one in before[-BEFORE:]))
    return "\n  ".join([f"the code asked for {wanted}, history has {had} at seq {seq}", *lines])


def text_of(payload: Payload) -> str:
    """Show a value as it travels."""
    if payload.blob is not None:
        return f"(a large value, kept as {payload.blob})"
    if payload.content_type != JSON or payload.encoding:
        return f"({len(payload.data)} bytes of {payload.content_type} {payload.encoding})".replace(" )", ")")
    return payload.data.decode(errors="backslashreplace")


def differing(asked: str, recorded: str) -> list[str]:
    """Show two values, from a little before they differ."""
    same = next((at for at, (one, other) in enumerate(zip(asked, recorded, strict=False)) if one != other), None)
    same = min(len(asked), len(recorded)) if same is None else same
    start = 0 if max(len(asked), len(recorded)) <= VALUE_LIMIT else max(0, same - SAME_LIMIT)
    return [f"asked    {_cut(asked, start)}", f"history  {_cut(recorded, start)}"]


def _cut(text: str, start: int) -> str:
    end = start + VALUE_LIMIT
    return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")


def describe(event: e.Event) -> str:
    """Name an event in an error: its kind, and what it is about."""
    match event:
        case e.StepScheduled(step_id=step_id, kind=kind):
            return f'{kind} "{step_id}"'
        case e.StepAbandoned(step_id=step_id):
            return f'the end of waiting for "{step_id}"'
        case e.StepWithdrawn(step_id=step_id):
            return f'the withdrawal of "{step_id}"'
        case e.ChildScheduled(step_id=step_id):
            return f'child "{step_id}"'
        case e.ChildCancelRequested(step_id=step_id):
            return f'the cancelling of child "{step_id}"'
        case e.TurnCut(requests=requests):
            return f"a cut of the turn after {requests} requests"
        case e.TurnEnded(requests=requests):
            return f"the end of the turn after {requests} further requests"
        case e.TimerStarted(timer_id=timer_id):
            return f'timer "{timer_id}"'
        case e.TimerCancelled(timer_id=timer_id):
            return f'the cancelling of timer "{timer_id}"'
        case e.SignalRefused(name=name, message_id=message_id):
            return f'the refusal of signal "{name}" ({message_id})'
        case e.SignalReceived(name=name):
            return f'SignalReceived "{name}"'
        case e.RunStarted(workflow=workflow):
            return f'RunStarted "{workflow}"'
        case _:
            about = getattr(event, "step_id", None) or getattr(event, "timer_id", None)
            return f'{type(event).__name__} "{about}"' if about else type(event).__name__
