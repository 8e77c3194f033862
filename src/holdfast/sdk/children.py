"""The children that a workflow's code has called: what is asked for each, and what its caller hears.

Laws of this file:
- A child that was asked to stop and did is the caller's own cancellation; one that somebody else stopped is a failure.
- A detached child answers when it has started; nobody hears of its end.
"""

from typing import Any

from holdfast.core import events as e
from holdfast.core.commands import CancelChild, StartChild
from holdfast.core.identity import digest
from holdfast.core.parent import ABANDON, TERMINATE, child_run_id
from holdfast.core.payload import Payload
from holdfast.core.retry import Failure
from holdfast.core.status import CANCELLED, TERMINATED
from holdfast.sdk.definitions import ChildFailed, Workflow
from holdfast.sdk.shield import CLOSED

ChildWord = e.ChildStarted | e.ChildCompleted | e.ChildFailed | e.ChildCancelled | e.ChildTerminated
Answer = Payload | str | Exception | object
"""What a call comes to: the payload of its result, the run id of a detached one, an error, or CLOSED."""


class Called:
    """One child, and whether it was asked to stop."""

    __slots__ = ("detached", "is_cancelled", "run_id")

    def __init__(self, run_id: str, *, detached: bool) -> None:
        self.run_id = run_id
        self.detached = detached
        self.is_cancelled = False


class Children:
    """Of one run: the children that owe an answer."""

    __slots__ = ("_called", "_incarnation", "_run_id")

    def __init__(self, run_id: str, incarnation: int) -> None:
        self._run_id = run_id
        self._incarnation = incarnation
        self._called: dict[str, Called] = {}

    def call(
        self, step_id: str, child: Workflow[..., Any], data: bytes, input_: Payload, *, detached: bool
    ) -> StartChild:
        """Put a call into a request; `data` are the bytes of its arguments."""
        options = child.child_options
        run_id = options.id or child_run_id(self._run_id, self._incarnation, step_id)
        self._called[step_id] = Called(run_id, detached=detached)
        return StartChild(
            step_id=step_id,
            workflow=child.name,
            version=child.version,
            run_id=run_id,
            input=input_,
            input_hash=digest(data),
            parent_close=options.parent_close or (ABANDON if detached else TERMINATE),
            detached=detached,
        )

    def cancel(self, step_id: str) -> list[CancelChild]:
        """Ask a child to stop; whoever calls a detached one waits for its start alone, and that comes."""
        called = self._called[step_id]
        if called.detached:
            return []
        called.is_cancelled = True
        return [CancelChild(step_id=step_id)]

    def hear(self, event: ChildWord) -> Answer | None:
        """Tell what a call comes to by this word of the child; None if the caller waits on."""
        called = self._called[event.step_id]
        if not isinstance(event, e.ChildStarted):
            del self._called[event.step_id]
        match event:
            case e.ChildStarted():
                return called.run_id if called.detached else None
            case e.ChildCompleted(result=result):
                return result
            case e.ChildFailed(error=error):
                return ChildFailed(error, called.run_id)
            case e.ChildCancelled() if called.is_cancelled:
                return CLOSED
            case e.ChildCancelled(step_id=step_id):
                error = Failure("RunCancelled", f"child run {called.run_id} was cancelled", step=step_id)
                return ChildFailed(error, called.run_id, CANCELLED)
            case e.ChildTerminated(step_id=step_id, reason=reason):
                error = Failure("RunTerminated", f"child run {called.run_id} was terminated: {reason}", step=step_id)
                return ChildFailed(error, called.run_id, TERMINATED)
