"""The children and the parent of a run as people and scripts look at them: made of its history, like views.py."""

from collections.abc import Iterable

import msgspec

from holdfast.core import events as e
from holdfast.core.retry import Failure
from holdfast.core.run import Run


class ChildView(msgspec.Struct):
    """A child as its parent knows it; its own run tells more."""

    id: str
    run_id: str
    workflow: str
    state: str = "SCHEDULED"
    detached: bool = False
    parent_close: str = ""
    error: dict[str, object] | None = None


def children_of(events: Iterable[e.Event]) -> list[ChildView]:
    """List the children that a history has called, in their order."""
    children: dict[str, ChildView] = {}
    for event in events:
        match event:
            case e.ChildScheduled(step_id=step_id, run_id=run_id, workflow=workflow):
                children[step_id] = ChildView(
                    step_id, run_id, workflow, detached=event.detached, parent_close=event.parent_close
                )
            case e.ChildStarted(step_id=step_id):
                children[step_id].state = "STARTED"
            case e.ChildCompleted(step_id=step_id):
                children[step_id].state = "COMPLETED"
            case e.ChildFailed(step_id=step_id, error=error):
                children[step_id].state, children[step_id].error = "FAILED", _said(error)
            case e.ChildCancelRequested(step_id=step_id):
                children[step_id].state = "CANCELLING"
            case e.ChildCancelled(step_id=step_id):
                children[step_id].state = "CANCELLED"
            case e.ChildTerminated(step_id=step_id):
                children[step_id].state = "TERMINATED"
            case _:
                pass
    return list(children.values())


def parent_of(run: Run) -> dict[str, object] | None:
    """Tell who called a run."""
    return None if run.parent is None else msgspec.to_builtins(run.parent)


def _said(error: Failure) -> dict[str, object]:
    return {"type": error.type, "message": error.message, "step": error.step}
