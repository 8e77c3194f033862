"""Continuing as new: one commit closes an incarnation of a run and opens the next, with an empty history.

Laws of this file:
- Nothing that may still change the outside is left behind: an incarnation closes when its effects are settled and its
  children have answered. Until then the code asks again after each event.
- Plain steps and timers that are still open are given up: a late result writes nothing.
- What the code has not taken goes along: signals, with the attributes, the wait of the parent, and the ids of the
  requests to cancel that were heard. So does the input of the first start: the same start again changes nothing.
"""

from typing import TYPE_CHECKING

from holdfast.core import events as e
from holdfast.core.commands import ContinueRun

if TYPE_CHECKING:
    from holdfast.core.run import Run


def continued(run: "Run", command: ContinueRun) -> tuple[e.Event, ...]:
    """Close the incarnation, unless something in it still owes an answer."""
    if run.children or any(step.is_effect for step in run.open_steps.values()):
        return ()
    return (e.RunContinued(input=command.input),)


def next_start(closed: "Run", event: e.RunContinued, version: str) -> e.RunStarted:
    """Open the incarnation after `closed`, with the `version` of the code that new runs begin with."""
    return e.RunStarted(
        workflow=closed.workflow,
        version=version,
        input=event.input,
        attributes=closed.attributes,
        parent=closed.parent,
        origin=closed.first_input,
        cancels=tuple(sorted(closed.cancels)),
    )
