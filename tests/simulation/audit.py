"""The auditor: sees every commit, every record and every step, and knows the laws.

Laws of this file:
- Nothing is published and nothing executed that is not committed; an event is published as it is stored, after all
  before it.
- A history is gapless, its times never go back, and no event contradicts those before it.
- A shard's epoch has one owner. A task is marked as done after its result was published.
"""

from collections.abc import Callable, Mapping

import msgspec

from holdfast.adapters.avro.codec import AvroCodec
from holdfast.app.records import header
from holdfast.core import events as e
from holdfast.core.asks import CONFLICT, Move
from holdfast.core.commands import HearChild, SignalRun, StartRun
from holdfast.core.effects import SETTLED, Effect
from holdfast.core.identity import event_id
from holdfast.core.retry import MICROS
from holdfast.core.run import CONTINUED, ENDED, UNFIT_SIGNAL, Run, evolve
from holdfast.core.settling import PERSON
from holdfast.ports.journal import ShardBatch, StoredEvent
from holdfast.ports.log import Record
from holdfast.ports.topics import Topics
from holdfast.sdk.attempts import Fatal, RetryAfter
from tests.simulation.provider import Provider
from tests.simulation.retrying import WAIT
from tests.simulation.store import Truth

ANY = 0
"""Stands for the attempt of a result that settles its step, whichever attempt it is of."""
EXPECTED_DEAD = frozenset({"run_ended", "not_purged"})
CODEC = AvroCodec()

Violate = Callable[[str, str], None]


class Auditor:
    """Folds what is committed by itself, and compares."""

    def __init__(self, truth: Truth, topics: Topics, violate: Violate, note: Callable[..., None] | None = None) -> None:
        self.runs: dict[str, Run] = {}
        self.times: dict[str, int] = {}
        self.published: dict[tuple[str, int], int] = {}
        self.outcomes: dict[str, set[tuple[str, bytes]]] = {}
        self.events = 0
        self.note = note
        self._truth = truth
        self._topics = topics
        self._violate = violate
        self._owners: dict[tuple[int, int], str] = {}
        self.refused: set[tuple[str, str]] = set()
        """Signals that runs could not take, by run and message id; `put_aside` are those that are dead letters."""
        self.put_aside: set[tuple[str, str]] = set()
        self._inputs: set[tuple[str, str]] = set()
        self._attempts: set[tuple[str, str, int]] = set()
        self._settled: set[tuple[str, str]] = set()
        self._results: set[tuple[str, str, int]] = set()
        self._called: dict[tuple[str, str], str] = {}
        """The run ids of children, by the run and the step that called them."""
        self._provider: Provider | None = None
        self.skew = 0
        """Microseconds by which two processes' clocks may differ."""

    def watch(self, provider: Provider) -> None:
        """Compare what histories say of effects with the provider's book."""
        self._provider = provider
        self._truth.ledger.heard = self._moved

    def wrote_last(self, shard: int) -> str | None:
        """Name the process that wrote to a shard in its present epoch."""
        return self._owners.get((shard, self._truth.rows[shard].epoch))

    # -- what is committed

    def committed(self, batch: Mapping[int, ShardBatch], by: str) -> None:
        for shard, part in batch.items():
            if self.note is not None:
                self.note(by, f"commits shard {shard} batch {part.epoch}.{part.number}", *_said(part))
            owner = self._owners.setdefault((shard, part.epoch), by)
            if owner != by:
                self._violate("two owners", f"{owner} and {by} wrote to shard {shard} in epoch {part.epoch}")
            for stored in part.events:
                self._happened(stored)
            self._timers_wait(part)
            for tombstone in part.purged:
                self._purged(tombstone.run_id, by)

    def _purged(self, run_id: str, by: str) -> None:
        """What goes has ended, is settled and told, and nobody waits for it. That it never begins anew: `_happened`."""
        run = self.runs.get(run_id)
        if run is None or not run.ended:
            self._violate("purged too early", f"{by} purged {run_id}, which has not ended")
            return
        left = [row.step_id for row in self._truth.ledger.archive.values() if row.run_id == run_id and not row.settled]
        if left:
            self._violate("purged too early", f"{by} purged {run_id}, whose effects {left} have no verdict")
        waits = run.parent and self._truth.open.get((run.parent.run_id, run.parent.incarnation, run.parent.step_id))
        if waits:
            self._violate("purged too early", f"{by} purged {run_id}, for which {run.parent} still waits")
        untold = [spans for spans in self._truth.outbox_rows.values() if any(span.run_id == run_id for span in spans)]
        if untold and (run_id not in self.outcomes or self.published.get((run_id, run.incarnation), 0) < run.seq):
            self._violate("purged too early", f"{by} purged {run_id} before it was published: {untold[0]}")

    def _timers_wait(self, part: ShardBatch) -> None:
        """A run that is parked has no timer in the store: it would stand before those of all other runs."""
        touched = {one.run_id for one in part.events} | {row.run_id for row in part.timers_set}
        parked = {run_id for run_id in touched if run_id in self.runs and self.runs[run_id].parked is not None}
        left = [key for key in self._truth.timers if key[0] in parked] if parked else ()
        if left:
            self._violate("timer of a parked run", f"{left[0]} is in the store, and nothing may come of it")

    def _happened(self, stored: StoredEvent) -> None:
        self.events += 1
        run_id = stored.run_id
        run = self.runs.get(run_id) or Run(run_id, stored.incarnation)
        if run.status == CONTINUED and stored.incarnation == run.incarnation + 1:
            run = Run(run_id, stored.incarnation)
        if stored.incarnation != run.incarnation:
            self._violate("gap", f"run {run_id}: incarnation {stored.incarnation} in {run.incarnation} ({run.status})")
        event = CODEC.decode_event(stored.type, stored.data)
        if stored.seq != run.seq + 1:
            self._violate("gap", f"run {run_id}: seq {stored.seq} came after {run.seq}")
        if stored.at < self.times.get(run_id, 0):
            self._violate("time", f"run {run_id}: {stored.type} at seq {stored.seq} is older than the one before it")
        wrong = None if run.ended else _of_a_person(run, event)
        wrong = self._contradiction(run, event, stored.at) if wrong is None else wrong
        if wrong:
            self._violate("contradiction", f"run {run_id}, seq {stored.seq}: {wrong}")
        if isinstance(event, e.SignalRefused):
            self.refused.add((run_id, event.message_id))
        self.times[run_id] = stored.at
        self.runs[run_id] = run = evolve(run, event)
        # Effects of an ended run go on to their verdict.
        self._attempts.update((life(run), step_id, step.attempt) for step_id, step in run.unsettled.items())

    def _contradiction(self, run: Run, event: e.Event, at: int) -> str:
        """Say what is wrong with an event after those before it."""
        if run.ended or run.exists is isinstance(event, e.RunStarted):
            return f"{type(event).__name__} in a run that is {run.status or 'not there'}"
        match event:
            case e.StepScheduled(step_id=step_id):
                self._attempts.add((life(run), step_id, 1))
                what = _what(event.input.data).what
                self._inputs.add((run.run_id, what))
                if event.guard is not None and self._provider is not None:
                    self._provider.wanted[run.run_id, step_id] = what
                return f"{step_id} is scheduled twice" if run.knows(step_id) else ""
            case e.StepAttempted(step_id=step_id, attempt=attempt):
                self._attempts.add((life(run), step_id, attempt))
                step = run.open_steps.get(step_id)
                early = step is None or (step.parked is None and (step.due_at is None or at < step.due_at - self.skew))
                return f"attempt {attempt} of {step_id} is not due" if early else ""
            case e.StepRetried():
                return _unlike_what_was_said(event, at) or _follows_nothing(run, event)
            case (
                e.StepCompleted(step_id=step_id)
                | e.StepFailed(step_id=step_id)
                | e.StepAbandoned(step_id=step_id)
                | e.StepCancelled(step_id=step_id)
            ):
                # Counted here, and not by what the engine's own fold says.
                if (life(run), step_id, 1) not in self._attempts or (life(run), step_id) in self._settled:
                    return f"{type(event).__name__}: {step_id} is not open"
                self._settled.add((life(run), step_id))
                return self._unlike_the_book(run.run_id, step_id, happened=isinstance(event, e.StepCompleted))
            case e.TimerFired(timer_id=timer_id):
                due = run.timers.get(timer_id)
                return f"timer {timer_id} is not due" if due is None or at < due - self.skew else ""
            case e.CancelRequested(message_id=message_id):
                return "cancelled twice" if message_id in run.cancels or (run.cancelling and not message_id) else ""
            case _:
                return self._contradiction_of_family(run, event)

    def _contradiction_of_family(self, run: Run, event: e.Event) -> str:
        match event:
            case e.RunStarted(parent=parent) if parent is not None:
                called = self._called.get((parent.run_id, parent.step_id)) == run.run_id
                return "" if called else f"{parent} has not called it"
            case e.ChildScheduled(step_id=step_id, run_id=child):
                self._called[run.run_id, step_id] = child
                return f"{step_id} is called twice" if run.knows(step_id) else ""
            case e.ChildCompleted() | e.ChildFailed() | e.ChildCancelled() | e.ChildTerminated():
                return self._unlike_the_child(run.run_id, event)
            case _:
                return ""

    def _unlike_the_child(
        self, run_id: str, event: e.ChildCompleted | e.ChildFailed | e.ChildCancelled | e.ChildTerminated
    ) -> str:
        """Compare what a parent has heard with how its child ended; it hears it once."""
        step = (run_id, event.step_id)
        if step not in self._called or step in self._settled:
            return f"{type(event).__name__}: {event.step_id} is not open"
        self._settled.add(step)
        if isinstance(event, e.ChildFailed) and event.error.type == "RunExists":
            return ""
        child = self.runs.get(self._called[step])
        status = type(event).__name__.removeprefix("Child").upper()
        if child is None or child.status != status:
            return f"{type(event).__name__}: the child is {child and child.status}"
        return ""

    def _unlike_the_book(self, run_id: str, step_id: str, *, happened: bool) -> str:
        """Compare how an effect was settled with what the provider has in its book."""
        what = None if self._provider is None else self._provider.wanted.get((run_id, step_id))
        if what is None or self._provider is None or bool(self._provider.book[run_id, what]) is happened:
            return ""
        return f"{step_id} ({what}) is said to have {'' if happened else 'not '}happened, and the book says otherwise"

    def _moved(self, effect: Effect, move: Move) -> None:
        if self.note is not None:
            self.note(
                move.who, f"moves {effect.run_id} {effect.step_id}: {move.was} -> {move.to} ({move.what})", move.reason
            )
        if move.what == CONFLICT:
            self._violate("conflict", f"{effect.run_id} {effect.step_id} is {effect.state}, and {move.who} has proof")

    # -- what is published

    def heard(self, record: Record, by: str) -> None:
        topics = self._topics
        if self.note is not None:
            self.note(
                by, "->", f"{record.topic.split('.', 1)[1]}/{record.partition}@{record.offset}", self._words(record)
            )
        if record.topic == topics.events:
            self._event(record, by)
        elif record.topic == topics.commands:
            self._command(record, by)
        elif record.topic == topics.outcomes:
            self._outcome(record, by)
        elif record.topic == topics.results:
            result = CODEC.decode_result(record.value)
            settles = result.error is None or result.ledger in SETTLED
            place = f"{result.run_id}/{result.incarnation}"
            self._results.add((place, result.step_id, ANY if settles else result.attempt))
        elif record.topic == topics.dlq:
            reason = (header(record, "holdfast_error_class") or b"").decode()
            if reason == UNFIT_SIGNAL:
                self._put_aside(record)
            elif reason not in EXPECTED_DEAD:
                text = (header(record, "holdfast_error") or b"").decode()
                self._violate("dead letter", f"{reason}: {text}")
        else:
            task = CODEC.decode_task(record.value)
            if (f"{task.run_id}/{task.incarnation}", task.step_id, task.attempt) not in self._attempts:
                self._violate("published first", f"{by} sent {task.step_id} of {task.run_id} before it was committed")

    def _put_aside(self, record: Record) -> None:
        """A signal that a run could not take is a dead letter, once that is in its history."""
        addressed = CODEC.decode_command(record.headers, record.value)
        assert isinstance(addressed.command, SignalRun)
        signal = (addressed.run_id, addressed.command.message_id)
        if signal not in self.refused:
            self._violate("published first", f"signal {signal} is a dead letter before its run has refused it")
        self.put_aside.add(signal)

    def _words(self, record: Record) -> object:
        """Say for a trace what a record says."""
        topics = self._topics
        if record.topic == topics.commands:
            return CODEC.decode_command(record.headers, record.value)
        if record.topic == topics.results:
            result = CODEC.decode_result(record.value)
            return f"{result.run_id} {result.step_id} attempt {result.attempt} {result.error and result.error.type}"
        if record.topic.startswith(f"{topics.namespace}.tasks."):
            task = CODEC.decode_task(record.value)
            return f"{task.run_id} {task.step_id} attempt {task.attempt}"
        return (header(record, "ce_id") or b"").decode()

    def _command(self, record: Record, by: str) -> None:
        """What runs say to each other follows from what is committed."""
        addressed = CODEC.decode_command(record.headers, record.value)
        command = addressed.command
        if isinstance(command, StartRun) and command.parent is not None:
            if self._called.get((command.parent.run_id, command.parent.step_id)) != addressed.run_id:
                self._violate("published first", f"{by} starts {addressed.run_id} before the call of it is committed")
        elif isinstance(command, HearChild) and command.status in ENDED:
            child = self.runs.get(command.child)
            if child is None or child.status != command.status:
                self._violate("published first", f"{by} told the end of {command.child} before it is committed")

    def _event(self, record: Record, by: str) -> None:
        run_id, _, rest = (header(record, "ce_id") or b"").decode().partition("/")
        incarnation, seq = map(int, rest.split("/"))
        gone = self._truth.archive.get(run_id)
        history = self._truth.histories.get((run_id, incarnation), []) if gone is None else gone.history
        if seq > len(history) or history[seq - 1].data != record.value:
            self._violate("published first", f"{by} told of seq {seq} of {run_id}, which is not in the store")
        place = (run_id, incarnation)
        if seq > self.published.get(place, 0) + 1:
            self._violate("gap on the topic", f"{by} told of seq {seq} of {run_id} before those before it")
        self.published[place] = max(seq, self.published.get(place, 0))

    def _outcome(self, record: Record, by: str) -> None:
        told = CODEC.decode_outcome(record.value)
        run = self.runs.get(told.run_id)
        ce_id = (header(record, "ce_id") or b"").decode()
        if run is None or not run.ended or ce_id != event_id(run.run_id, run.incarnation, run.seq):
            self._violate("published first", f"{by} told the outcome {ce_id} of a run that has not ended there")
        self.outcomes.setdefault(told.run_id, set()).add((ce_id, record.value))

    def finished(self, record: Record, by: str) -> None:
        """A worker marks a task as done."""
        task = CODEC.decode_task(record.value)
        place = f"{task.run_id}/{task.incarnation}"
        told = {(place, task.step_id, ANY), (place, task.step_id, task.attempt)}
        # An effect that another process holds is told by that one, or by the sweeper.
        if task.guard is None and told.isdisjoint(self._results):
            self._violate(
                "done first", f"{by} marked {task.step_id} of {task.run_id} as done before it told its result"
            )

    # -- what is executed

    def executed(self, run: str, what: str, by: str) -> None:
        """A step begins; its arguments are in a committed history."""
        if (run, what) not in self._inputs:
            self._violate("executed first", f"{by} executes {what} of {run}, which is in no history")


def life(run: Run) -> str:
    """Name an incarnation of a run."""
    return f"{run.run_id}/{run.incarnation}"


class _Input(msgspec.Struct):
    """Of a step's arguments, the one that names what it is about."""

    what: str


_what = msgspec.json.Decoder(_Input).decode


def _of_a_person(run: Run, event: e.Event) -> str | None:
    """Say what is wrong with an event of a step that waits for a person; None if it is of no such step."""
    if isinstance(event, e.StepScheduled) and event.kind == PERSON:
        return f"{event.step_id} is scheduled twice" if run.knows(event.step_id) else ""
    step = run.open_steps.get(event.step_id) if isinstance(event, (e.StepCompleted, e.StepAttempted)) else None
    if step is None or step.scheduled.kind != PERSON:
        return None
    taken_up = isinstance(event, e.StepCompleted) and step.parked is not None
    return "" if taken_up else f"{step.scheduled.step_id} waits for a person alone"


def _follows_nothing(run: Run, event: e.StepRetried) -> str:
    step = run.open_steps.get(event.step_id)
    wrong = step is None or step.attempt != event.attempt - 1 or step.due_at is not None
    return f"attempt {event.attempt} of {event.step_id} follows nothing" if wrong else ""


def _unlike_what_was_said(event: e.StepRetried, at: int) -> str:
    """Compare when a step is tried again with what it has said; its words are known here by the type of its error."""
    if event.error.type == Fatal.__name__:
        return f"{event.step_id} is tried again, and has said that it is of no use"
    if event.error.type == RetryAfter.__name__ and event.due_at < at + WAIT * MICROS:
        return f"{event.step_id} has asked for {WAIT:g} s, and gets {(event.due_at - at) / MICROS:g} s"
    return ""


def _said(part: ShardBatch) -> list[str]:
    """Say for a trace what a batch writes."""
    said = [f"{one.run_id}/{one.seq}:{one.type}" for one in part.events]
    said += [f"attempt {one.run_id} {one.step_id}.{one.attempt} to {one.sent_to}" for one in part.attempts_opened]
    said += [f"inbox {one.run_id} {one.message_id}" for one in part.inbox_put]
    return said + [f"signal {run} {message}" for run, message in part.signals]
