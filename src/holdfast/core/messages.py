"""What the outside must hear of an event: the messages that `react` gives (core/react.py).

Laws of this file:
- A message says all that its carrier has to know; the carrier decides nothing.
- Messages are made again from history by the same function, so none has anything in it that history does not tell.
"""

from typing import final

import msgspec

from holdfast.core.asks import Ask
from holdfast.core.commands import CloseChild, ExecuteStep, HearChild, RunOutcome, StartRun
from holdfast.core.events import SignalRefused, StepScheduled


class Heard(msgspec.Struct, frozen=True):
    """The base of all messages that are not records of the wire."""


@final
class CloseAttempt(Heard, frozen=True):
    """Nothing more is expected of an attempt: it is not sent any more, nor asked after."""

    step_id: str


class WithholdAttempt(Heard, frozen=True):
    """Do not send what this commit was to send of a step; it is asked after all the same."""

    step_id: str


class ExpectAnswer(Heard, frozen=True):
    """An attempt that is not sent now; it is asked after, and sent if need be, at `due_at` (microseconds)."""

    task: ExecuteStep
    due_at: int


class SetTimer(Heard, frozen=True):
    """Wake the run at `due_at` (microseconds)."""

    timer_id: str
    due_at: int


class ClearTimer(Heard, frozen=True):
    """Nothing waits for this timer any more, or nothing may come of it for now."""

    timer_id: str


class Continue(Heard, frozen=True):
    """Let the code go on whose turn was cut at the event `cut`: at once here, later wherever the run is then."""

    cut: int


class PlanEffect(Heard, frozen=True):
    """Give an effect its row in the ledger, in the commit that schedules it."""

    scheduled: StepScheduled


class AskLedger(Heard, frozen=True):
    """Ask the ledger about an effect, in the commit that says why; a question of nobody is the process's that asks."""

    step_id: str
    key: str
    question: Ask


class TakeSignal(Heard, frozen=True):
    """The message id of a signal is used up."""

    message_id: str


class PutAside(Heard, frozen=True):
    """A signal that the code could not take is a dead letter."""

    refused: SignalRefused


class Bury(Heard, frozen=True):
    """The run goes, with all that the store has of it; `input_hash` is kept (purging.py)."""

    input_hash: bytes


class Send(Heard, frozen=True):
    """A command to another entity, on the shard of its own key.

    `identity` names it for ever: the event it follows from, and its number among those; so whoever makes it again makes
    the same. `incarnation` of the receiver, if it is for that one alone. `awaits`: the step of the sender that is open
    until the command is answered, and is asked after.
    """

    to: str
    command: StartRun | HearChild | CloseChild
    identity: str
    incarnation: int | None = None
    awaits: str = ""


Message = (
    ExecuteStep
    | Send
    | Bury
    | CloseAttempt
    | WithholdAttempt
    | ExpectAnswer
    | SetTimer
    | ClearTimer
    | Continue
    | PlanEffect
    | AskLedger
    | TakeSignal
    | PutAside
    | RunOutcome
)
