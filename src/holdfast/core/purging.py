"""What stays of a purged run, and what is said of it from then on.

Laws of this file:
- The id of a purged run is never new again: a start of it begins nothing, and what else comes for it finds a run that
  has ended.
- A parent that asks for a purged run is answered, so that it does not wait for ever.
"""

import msgspec

from holdfast.core.children import REFUSED
from holdfast.core.commands import Command, HearChild, SignalRun, StartRun
from holdfast.core.identity import digest
from holdfast.core.messages import Message, Send
from holdfast.core.payload import Payload, meaning
from holdfast.core.retry import Failure
from holdfast.core.run import RUN_EXISTS, DeadLetter

RUN_PURGED_ERROR = "RunPurged"


class Tombstone(msgspec.Struct, frozen=True):
    """What stays of a purged run; `input_hash` is of its workflow and input. `purged_at` is set by the store."""

    run_id: str
    incarnation: int
    input_hash: bytes
    ended_at: int
    purged_at: int = 0

    def is_of(self, workflow: str, given: Payload) -> bool:
        """Tell whether the purged run was one of this workflow with this input."""
        return self.input_hash == input_hash(workflow, given)


def input_hash(workflow: str, given: Payload) -> bytes:
    """Name what a run was about in 16 bytes."""
    return digest(workflow.encode(), meaning(given))


def after_purge(tombstone: Tombstone, command: Command) -> tuple[Message, ...]:
    """Tell what the outside must hear of a command to a purged run.

    Raises:
        DeadLetter: the command can never be handled.
    """
    run_id = tombstone.run_id
    match command:
        case StartRun(parent=parent) if parent is not None:
            error = Failure(RUN_PURGED_ERROR, f"child run {run_id} has ended and was purged", step=parent.step_id)
            word = HearChild(step_id=parent.step_id, child=run_id, status=REFUSED, error=error)
            place = f"{parent.run_id}/{parent.incarnation}/{parent.step_id}/purged"
            return (Send(parent.run_id, word, place, incarnation=parent.incarnation),)
        case StartRun(workflow=workflow, input=given) if not tombstone.is_of(workflow, given):
            text = f"run {run_id} existed with another workflow or input, and was purged. Choose another run id"
            raise DeadLetter(RUN_EXISTS, text)
        case SignalRun(name=name):
            raise DeadLetter("run_ended", f"run {run_id} has ended and was purged: signal {name!r} is late")
        case _:
            return ()
