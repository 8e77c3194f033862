"""A draft of a commit: what one slice of inputs writes to the shards, and what follows once it is durable.

Laws of this file:
- Nothing in `after` happens before the draft is committed (store first, then send).
- The inputs are kept with the draft until its commit succeeded; one that fails is dropped whole, they are fed again.
"""

from collections.abc import Mapping, Sequence
from typing import Any, final

import msgspec

from holdfast.app.orchestrator.run_cache import LiveRun
from holdfast.core.commands import Command, CompleteStep, ExecuteStep, FailStep, HearLedger, RunOutcome, StepResult
from holdfast.core.events import Event, SignalRefused
from holdfast.core.messages import Send
from holdfast.core.run import PARKED, Run
from holdfast.ports.codec import Codec, Newer
from holdfast.ports.deferred import DeferredInput
from holdfast.ports.journal import InboxRow, RunRow, ShardBatch, Span, StoredEvent
from holdfast.ports.ledger import Answer
from holdfast.ports.log import Outgoing, Record
from holdfast.ports.timers import AttemptRow, TimerRow


class Resend(msgspec.Struct, frozen=True):
    """The sweeper's question: is this attempt still open? Then send it again; if it is `due`, when its time is over."""

    row: AttemptRow
    due: bool = False


class AskAgain(msgspec.Struct, frozen=True):
    """The ledger's answer about an effect was not heard, or could not be asked for: ask for it."""

    step_id: str


class TakeInbox(msgspec.Struct, frozen=True):
    """The sweeper's finding: a signal whose run never came."""

    row: InboxRow


@final
class Redirect(msgspec.Struct, frozen=True):
    """A record that is not for a run of ours: it goes on as a dead letter, or to its own partition.

    One `of_unknown_schema` is read again before its slice is handled, when the schemas were asked for.
    """

    record: Outgoing
    of_unknown_schema: bool = False


class Unread(msgspec.Struct, frozen=True):
    """A record that a newer release wrote to this run, and that is not known here: it waits (deferral.py)."""

    error: Newer


class Input(msgspec.Struct, eq=False):
    """Something that came in for a run, kept until what follows from it is committed.

    `reading` counts how often this process began to read anew before the record of it (`origin`) was read.
    `sent` is the message that it came by, if another entity's commit in this process has handed it over in memory.
    `held` is its place among the inputs that waited for this process (deferral.py), if it did.
    """

    shard: int
    run_id: str
    command: Command | Resend | AskAgain | TakeInbox | Redirect | Unread
    incarnation: int | None = None
    origin: Record | None = None
    waiter: Any = None
    refusals: int = 0
    reading: int = 0
    sent: Send | None = None
    held: int | None = None

    def as_result(self) -> StepResult | None:
        """Say a step's result in the words of the results topic, for another owner."""
        command = self.command
        if not isinstance(command, (CompleteStep, FailStep, HearLedger)):
            return None
        said = StepResult(
            run_id=self.run_id,
            incarnation=self.incarnation or 0,
            step_id=command.step_id,
            attempt=command.attempt or 0,
            result=command.result if isinstance(command, (CompleteStep, HearLedger)) else None,
            error=command.error if isinstance(command, (FailStep, HearLedger)) else None,
        )
        match command:
            case FailStep(ledger=state, not_before=not_before):
                return msgspec.structs.replace(said, ledger=state, not_before=not_before)
            case HearLedger(state=state, reason=reason):
                return None if command.attempt is None else msgspec.structs.replace(said, ledger=state, reason=reason)
            case _:
                return said


class Draft:
    """What one slice writes, by shard, and what is to be said of it.

    `happened` (events of a turn, its time, the trace) and `concluded` (an outcome, its incarnation and seq, the trace)
    are not put into words yet (encode.py), nor are `refusals` of signals (the run, the event, its time); `prompt`
    and `events` are records, see publisher.Published. `refused` is told to whoever handed the input over.
    """

    def __init__(self, inputs: list[Input]) -> None:
        self.inputs = inputs
        self.by_shard: dict[int, ShardBatch] = {}
        self.attempts: dict[tuple[str, int, str], AttemptRow | None] = {}
        self.timers: dict[tuple[str, int, str], TimerRow | None] = {}
        self.rows: dict[tuple[str, int], RunRow] = {}
        self.new_runs: set[tuple[str, int]] = set()
        self.spans: dict[tuple[str, int], Span] = {}
        self.touched: dict[str, LiveRun] = {}
        self.tasks: dict[tuple[str, int, str], tuple[ExecuteStep, LiveRun, int]] = {}
        self.happened: list[tuple[list[StoredEvent], int, str]] = []
        self.sends: list[tuple[Send, int, str]] = []
        self.concluded: list[tuple[RunOutcome, int, int, str]] = []
        self.events: list[Outgoing] = []
        self.prompt: list[Outgoing] = []
        self.ended: list[RunOutcome] = []
        self.blobs: dict[str, bytes] = {}
        self.refused: list[tuple[Input, Exception]] = []
        self.refusals: list[tuple[str, SignalRefused, int]] = []
        self.assumed_new = False
        self.planned: set[str] = set()
        self.done_with: list[str] = []
        self.later: list[Input] = []
        self.asked_again: list[Input] = []
        self.answered: list[AttemptRow] = []
        self.inbox_of: set[str] = set()
        self.answers: Mapping[str, Answer] | None = None
        self.deferred: list[DeferredInput] = []
        self.is_kept = False  # what is deferred
        self.size = 0
        """Bytes of the events and large payloads in it."""

    def verdicts(self) -> list[Input]:
        """Put the ledger's answers to the runs; those that were lost are asked for again."""
        if self.answers is None:
            return self.later + self.asked_again
        told = self.later
        for effect in (answer.effect for answer in self.answers.values()):
            if effect is not None:
                word = HearLedger(
                    step_id=effect.step_id,
                    state=effect.state,
                    result=effect.result,
                    error=effect.error,
                    reason=effect.reason,
                )
                told.append(Input(effect.shard, effect.run_id, word, effect.incarnation))
        return told

    def batch(self, shard: int) -> ShardBatch:
        found = self.by_shard.get(shard)
        if found is None:
            # Lists of their own: msgspec copies only empty defaults, and these are filled in place.
            found = self.by_shard[shard] = ShardBatch(epoch=0, number=0, published=0)
        return found

    def span(self, run_id: str, stored: list[StoredEvent]) -> None:
        """Note for the outbox what happened to a run in one turn."""
        place = (run_id, stored[0].incarnation)
        span = self.spans.get(place)
        first = stored[0].seq if span is None else span.first
        self.spans[place] = Span(*place, first, stored[-1].seq)

    def row(self, run: Run, shard: int, started_at: int, *, new: bool, ended_at: int | None) -> None:
        """Note the run's row; started and changed in one draft is one insert."""
        if new:
            self.new_runs.add((run.run_id, run.incarnation))
        stands = run.stands
        self.rows[run.run_id, run.incarnation] = RunRow(
            run_id=run.run_id,
            incarnation=run.incarnation,
            shard=shard,
            workflow=run.workflow,
            version=run.version,
            status=run.status if stands is None else PARKED,
            attributes=run.attributes,
            started_at=started_at,
            ended_at=ended_at,
            parked=stands,
        )

    def seal(self, shards: Mapping[str, int]) -> None:
        """Sort what was noted by key into the shards' batches."""
        for place, row in self.rows.items():
            batch = self.batch(row.shard)
            (batch.started if place in self.new_runs else batch.changed).append(row)
        for (run_id, _), span in self.spans.items():
            self.batch(shards[run_id]).spans.append(span)
        batches = self.by_shard
        for key, attempt in self.attempts.items():
            batch = batches.get(shards[key[0]]) or self.batch(shards[key[0]])
            if attempt is None:
                batch.attempts_closed.append(key)
            else:
                batch.attempts_opened.append(attempt)
        for key, timer in self.timers.items():
            batch = self.batch(shards[key[0]])
            batch.timers_cleared.append(key) if timer is None else batch.timers_set.append(timer)


def positions_of(inputs: list[Input], reading: int) -> dict[tuple[str, int], int]:
    """Tell the next offsets to read, after these inputs are committed and published, as far as `reading` read them."""
    positions: dict[tuple[str, int], int] = {}
    for one in inputs:
        origin = one.origin
        if origin is not None and one.reading == reading:
            place = (origin.topic, origin.partition)
            positions[place] = max(positions.get(place, 0), origin.offset + 1)
    return positions


def stored_events(codec: Codec, before: Run, happened: Sequence[Event], at: int) -> list[StoredEvent]:
    """Encode what happened to a run, with the seqs that follow `before`."""
    encode, run_id, incarnation, seq = codec.encode_event, before.run_id, before.incarnation, before.seq
    stored = []
    for event in happened:
        seq += 1
        stored.append(StoredEvent(run_id, incarnation, seq, type(event).__name__, encode(event), at))
    return stored
