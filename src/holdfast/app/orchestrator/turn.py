"""From inputs to a draft: decide, run the code, and note what must be written and what must be heard.

Laws of this file:
- Pure work in memory: no await between the first input of a slice and its draft.
- One run's trouble is that run's alone: what raises in our own code parks the run, and the slice goes on.
- Code that takes its time, or says much, does not add up: a slice ends early when it has taken long or is large.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from holdfast.app.deaths import UNWATCHED, DeathWatch
from holdfast.app.orchestrator import ledger_requests
from holdfast.app.orchestrator.deferral import Deferrals
from holdfast.app.orchestrator.draft import AskAgain, Draft, Input, Redirect, Resend, TakeInbox, Unread, stored_events
from holdfast.app.orchestrator.early_signals import keep, never_started, signal_of, take_out
from holdfast.app.orchestrator.loaded import CONTINUED_AT_ONCE, Loaded, NotLoaded, Stuck, never_waits
from holdfast.app.orchestrator.parking import at_fault, park
from holdfast.app.orchestrator.reactions import Reactions, is_over
from holdfast.app.orchestrator.run_cache import EvictableProgram, LiveRun, LiveRuns, NewProgram, reprogram
from holdfast.app.records import Wire
from holdfast.core import events as e
from holdfast.core.behind import Behind
from holdfast.core.commands import (
    Command,
    CompleteStep,
    FailStep,
    PurgeRun,
    ResumeRun,
    SignalRun,
    StartRun,
)
from holdfast.core.purging import after_purge
from holdfast.core.react import answer, ask_again, task
from holdfast.core.replay import Advance, ProgramStuck, advance, advance_behind, open_next, resume
from holdfast.core.run import CONTINUED, RUNNING, UNFIT_SIGNAL, DeadLetter, Run, evolve
from holdfast.ports.codec import Codec
from holdfast.ports.journal import InboxRow, StoredEvent
from holdfast.ports.timers import AttemptRow
from holdfast.sdk.failures import describe, trace_of
from holdfast.sdk.turn_limit import PULSE

log = logging.getLogger(__name__)

BEATS = 1
"""How many looks of the watchdog, some quarters of a second apart, a slice may last before it is cut."""
DRAFT_BYTES = 8 * 1024 * 1024
"""Bytes of a draft beyond which no further input is handled in it: as many as its inputs may have (intake.py)."""
ANSWERED = 10_000
"""Questions of the sweeper that are remembered, more than can wait at once. What was sent again is another row."""


class Turns:
    """Handles inputs against the runs in memory. `serves` tells whether a queue is served in this very process."""

    def __init__(
        self,
        *,
        codec: Codec,
        wire: Wire,
        live: LiveRuns,
        new_program: NewProgram,
        process: str,
        serves: Callable[[str], bool],
        publishes: bool = True,
        deaths: DeathWatch = UNWATCHED,
        deferrals: Deferrals,
    ) -> None:
        self._deferrals = deferrals
        self._codec = codec
        self._wire = wire
        self._live = live
        self._new_program = new_program
        self._process = process
        self._reactions = Reactions(process, serves, shards=wire.shards, publishes=publishes)
        self._publishes = publishes
        self._deaths = deaths
        self._answered: OrderedDict[AttemptRow, None] = OrderedDict()

    def handle(self, inputs: list[Input], at: int, loaded: Loaded) -> Draft:
        """Handle a slice at store time `at`; every run it is about is in memory or in `known`.

        The draft's inputs are those that were handled; what is left of the slice is to be fed again.
        """
        draft = Draft(inputs)
        shards: dict[str, int] = {}
        enough = PULSE.beats + BEATS
        for number, one in enumerate(inputs, 1):
            shards[one.run_id] = one.shard
            try:
                if not self._deferrals.defers(draft, one, at, loaded):
                    self._handle(draft, one, at, loaded)
            except DeadLetter as dead:
                self._refuse(draft, one, dead)
            if one.run_id:
                # Even a command that changes nothing is decided by the owner alone: its shard is fenced, too.
                draft.batch(one.shard)
            if PULSE.beats > enough or draft.size >= DRAFT_BYTES:
                draft.inputs = inputs[:number]
                break
        self._live.drop(draft.done_with)  # not before: the rest of the slice was looked up with them in memory
        self._deaths.recorder.landed()
        draft.seal(shards)
        return draft

    def _handle(self, draft: Draft, one: Input, at: int, loaded: Loaded) -> None:
        command = one.command
        if type(command) is Redirect:  # `type() is` where every run comes by: as in core/run.py
            draft.prompt.append(command.record)
            return
        assert not isinstance(command, Unread)  # noqa: S101 - else it was put aside
        live = self._find(draft, one, at, loaded)
        if live is None:
            return
        self._deaths.recorder.turn(one.run_id, live.run.incarnation, live.run.seq)
        if self._deaths.somebody_died:
            self._beware(live)
        at = max(at, live.last_at)
        if type(command) is CompleteStep and one.incarnation == live.run.incarnation:
            self._advance(draft, live, command, at, loaded)  # the hot path: nothing else to ask
            return
        if one.incarnation is not None and live.run.exists and one.incarnation != live.run.incarnation:
            return
        if type(command) is StartRun:
            self._start(draft, live, one, command, at, loaded)
            return
        if isinstance(command, TakeInbox):
            self._give_up(draft, live, command.row, loaded.inbox.get(one.run_id, []))
            return
        if isinstance(command, (Resend, AskAgain)):
            self._look_after(draft, live, command, at)
            return
        if isinstance(command, SignalRun):
            self._signal(draft, live, one, command, at, loaded)
            return
        if isinstance(command, FailStep):
            command = msgspec.structs.replace(command, at=at)
        self._advance(draft, live, command, at, loaded, runs_code=not one.refusals)

    def _start(self, draft: Draft, live: LiveRun, one: Input, command: StartRun, at: int, loaded: Loaded) -> None:
        """Start a run, and tell it the signals that came before it."""
        if not command.version and not live.run.exists:
            command = loaded.versioned(command)
        self._advance(draft, live, command, at, loaded, runs_code=not one.refusals)
        if one.run_id in loaded.inbox:
            self._empty_inbox(draft, live, loaded.inbox.pop(one.run_id), at, loaded)

    def _find(self, draft: Draft, one: Input, at: int, loaded: Loaded) -> LiveRun | None:
        """Give the run in memory; None if it was purged, and what is to be said of it is said."""
        live, tombstone, command = self._live.get(one.run_id), loaded.tombstones.get(one.run_id), one.command
        if live is not None or tombstone is None or isinstance(command, TakeInbox):
            return live or self._enter(draft, one, at, loaded)
        if isinstance(command, Resend):
            draft.attempts[one.run_id, command.row.incarnation, command.row.step_id] = None
        elif not isinstance(command, (AskAgain, Redirect, Unread)):
            buried = LiveRun(Run(one.run_id, tombstone.incarnation), one.shard)
            self._reactions.carry_out(draft, buried, after_purge(tombstone, command), at)
        return None

    def _look_after(self, draft: Draft, live: LiveRun, command: Resend | AskAgain, at: int) -> None:
        if isinstance(command, Resend):
            self._resend(draft, live, command, at)
        else:
            self._reactions.carry_out(draft, live, ask_again(live.run, command.step_id), at)

    def _enter(self, draft: Draft, one: Input, at: int, loaded: Loaded) -> LiveRun:
        """Bring a run into memory: rebuilt from what the store had, or new."""
        if one.run_id in loaded.unreadable:
            raise DeadLetter("history_unreadable", f"run {one.run_id}: {loaded.unreadable[one.run_id]}")
        stored = loaded.stored.get(one.run_id)
        if stored is None:
            live = LiveRun(Run(one.run_id), one.shard)
            live.started_at = at
            self._live.add(live)
            return live
        history = loaded.histories[one.run_id]
        run = Run(one.run_id, stored.row.incarnation)
        for past in history:
            run = evolve(run, past.event)
        live = LiveRun(run, one.shard)
        live.last_at = history[-1].at if history else 0
        live.started_at = stored.row.started_at
        self._live.add(live)
        if run.status == RUNNING:
            self._deaths.recorder.turn(run.run_id, run.incarnation, run.seq)
            try:
                code = self._programs(run, run.workflow)
                live.program, rebuilt = reprogram(run.run_id, run.incarnation, history, code)
                live.behind = rebuilt.behind if run.behind else None
            except ProgramStuck as stuck:
                # The input that woke the run is recorded first and then waits with the park (core/replay.py).
                live.program = Stuck(stuck)
        return live

    def _programs(self, run: Run, workflow: str) -> NewProgram:
        """Give what makes the code of a run; what stands for it, if processes died of it."""
        stuck = self._deaths.stuck(run, workflow) if self._deaths.somebody_died else None
        return self._new_program if stuck is None else lambda _run_id, _incarnation: Stuck(stuck)

    def _beware(self, live: LiveRun) -> None:
        """Stop code that is in memory, if it is heard only now that processes died of it."""
        stuck = self._deaths.stuck(live.run, live.run.workflow)
        if stuck is not None and live.program is not None:
            live.program.evict()
            live.program = Stuck(stuck)

    def _advance(
        self, draft: Draft, live: LiveRun, command: Command, at: int, loaded: Loaded, *, runs_code: bool = True
    ) -> None:
        """Let a command have its effect; without `runs_code`, a new run only begins (what it would do was refused)."""
        before = live.run
        try:
            if before.parked is not None and isinstance(command, ResumeRun):
                advanced = self._resume(live, command, at, loaded)
            else:
                program = live.program if before.status in {RUNNING, ""} else None
                if runs_code and not before.status and isinstance(command, StartRun):
                    make = self._programs(before, command.workflow)
                    program = live.program = make(before.run_id, before.incarnation)
                if before.behind and program is not None:
                    live.behind = live.behind or Behind(live.last_at)
                    advanced = advance_behind(before, program, live.behind, command, at)
                else:
                    advanced = advance(before, program, command, at)
            stored = stored_events(self._codec, before, advanced.events, at)
        except DeadLetter:
            raise
        except Exception as error:  # noqa: BLE001 - the law of this file: our own fault parks one run
            log.error("run %s is parked: an error of the engine\n%s", before.run_id, trace_of(error))
            advanced, stored = self._park(before, command, error, at)
        if stored:
            self._note(draft, live, before, advanced, stored, at)
            if live.run.status == CONTINUED:
                self._continue(draft, live, advanced, at, loaded)
        else:
            self._note_nothing(draft, live, command, at, loaded)

    def _continue(self, draft: Draft, live: LiveRun, closed: Advance, at: int, loaded: Loaded) -> None:
        """Open the next incarnation in the same commit, and those after it if it goes on at once."""
        for opened in range(1, CONTINUED_AT_ONCE + 1):
            loaded.lay_out(draft.blobs)
            make = self._programs(live.run, live.run.workflow) if opened < CONTINUED_AT_ONCE else never_waits
            closed = self._opened(live, make(live.run.run_id, live.run.incarnation + 1), closed, at, loaded)
            before = Run(live.run.run_id, live.run.incarnation)
            self._note(draft, live, before, closed, stored_events(self._codec, before, closed.events, at), at)
            if live.run.status != CONTINUED:
                return

    def _opened(self, live: LiveRun, program: EvictableProgram, closed: Advance, at: int, loaded: Loaded) -> Advance:
        version = loaded.version_of(live.run.workflow)
        live.open_next(program)
        try:
            return open_next(closed, program, version, at)
        except Exception as error:  # noqa: BLE001 - as in _advance
            log.error("run %s is parked: an error of the engine\n%s", live.run.run_id, trace_of(error))
            return open_next(closed, Stuck(ProgramStuck("engine_error", at_fault(live.run, error))), version, at)

    def _note_nothing(self, draft: Draft, live: LiveRun, command: Command, at: int, loaded: Loaded) -> None:
        """Write what a command leads to that changes nothing in its run."""
        run = live.run
        if not run.exists:
            self._live.drop((run.run_id,))
            return
        if isinstance(command, PurgeRun) and run.run_id in loaded.kept:
            raise DeadLetter("not_purged", f"run {run.run_id} is not purged: {loaded.kept[run.run_id]}")
        history = loaded.histories.get(run.run_id)
        self._reactions.carry_out(draft, live, answer(run, command, history[-1].event if history else None), at)
        left = ledger_requests.after_the_end(draft, live, command, at, self._process)
        if left is not None:
            step, due_at = left
            self._reactions.expect(draft, live, task(run, step.scheduled, step.attempt), 0, at, due_at)
        if run.ended and not live.uncommitted:
            draft.done_with.append(run.run_id)  # whoever asks again finds its last event in the store

    def _park(self, before: Run, command: Command, error: Exception, at: int) -> tuple[Advance, list[StoredEvent]]:
        """Park a run for an error of ours, with what came in, or without it where that cannot be recorded."""
        for heard in (command, None):
            try:
                parked = park(before, heard, error)
                if parked.run.exists:
                    return parked, stored_events(self._codec, before, parked.events, at)
            except DeadLetter:
                raise
            except Exception as again:  # noqa: BLE001 - as in _advance
                log.error("run %s: what came in cannot be recorded\n%s", before.run_id, trace_of(again))
        text = f"what came in for run {before.run_id} cannot be recorded: {describe(error)}"
        raise DeadLetter("engine_error", text)

    def _resume(self, live: LiveRun, command: ResumeRun, at: int, loaded: Loaded) -> Advance:
        stored = loaded.stored.get(live.run.run_id)
        place = (live.run.incarnation, live.run.seq)
        if stored is None or (stored.row.incarnation, len(stored.history)) != place:
            raise NotLoaded(live.run.run_id)
        if live.program is not None:
            live.program.evict()
        try:
            program, rebuilt = reprogram(
                live.run.run_id,
                live.run.incarnation,
                loaded.histories[live.run.run_id],
                self._programs(live.run, live.run.workflow),
            )
        except ProgramStuck as stuck:
            again = Advance(live.run)
            again.happen(e.RunResumed(by=command.by))
            again.happen(e.RunParked(reason=stuck.reason, detail=str(stuck)))
            return again
        live.program = program
        advanced = resume(rebuilt, program, command, at)
        live.behind = rebuilt.behind if advanced.run.behind else None
        return advanced

    def _note(
        self,
        draft: Draft,
        live: LiveRun,
        before: Run,
        advanced: Advance,
        stored: list[StoredEvent],
        at: int,
    ) -> None:
        """Write what happened into the draft."""
        after = advanced.run
        run_id, shard = after.run_id, live.shard
        live.run = after
        live.last_at = at
        if run_id not in draft.touched:
            draft.touched[run_id] = live
            live.uncommitted += 1
        draft.batch(shard).events += stored
        for one in stored:
            draft.size += len(one.data)
        if self._publishes:  # else the log lives in the store's own file, and history is its record
            draft.span(run_id, stored)
            draft.happened.append((stored, at, live.trace))
        refusals = len(draft.refusals)
        is_new = not before.status
        if is_new and not before.incarnation:
            live.started_at = at
        self._reactions.carry_out(draft, live, advanced.messages, at)
        if len(draft.refusals) > refusals and not self._publishes:
            draft.span(run_id, stored)  # a dead letter is published in any case
        if live.program is not None and (blobs := live.program.take_blobs()):
            draft.blobs.update(blobs)
            draft.size += sum(map(len, blobs.values()))
        if (
            after.status != before.status
            or after.parked is not before.parked
            or ((after.parked_steps or before.parked_steps) and after.stands != before.stands)
        ):
            ended = after.ended
            draft.row(after, shard, live.started_at, new=is_new, ended_at=at if ended else None)
            if (ended or after.parked is not None) and live.program is not None:
                live.program.evict()
                live.program = None
        if after.behind != before.behind and not (after.behind and before.behind):
            live.behind = (live.behind or Behind(at, advanced.unheard)) if after.behind else None

    def take_back(self, draft: Draft) -> None:
        """Forget what a draft has answered, and put aside, that was not committed."""
        self._deferrals.is_kept(draft)
        for row in draft.answered:
            self._answered.pop(row, None)

    def _resend(self, draft: Draft, live: LiveRun, asked: Resend, at: int) -> None:
        row, run = asked.row, live.run
        if row in self._answered:
            return  # two scans have found it: what it asks for was done already
        self._answered[row] = None
        draft.answered.append(row)
        while len(self._answered) > ANSWERED:
            self._answered.popitem(last=False)
        step = run.open_steps.get(row.step_id)
        ended = run.unsettled.get(row.step_id)
        # A takeover asks before the time: it does not make the next wait longer.
        resends = row.resends + (asked.due or row.resend_at <= at)
        if row.step_id in run.children or row.step_id in run.closing:
            self._reactions.remind(draft, live, row.step_id, resends, at)
        elif step is None and ended is None:
            draft.attempts[row.run_id, row.incarnation, row.step_id] = None
        elif ended is not None:
            self._reactions.carry_out(draft, live, ask_again(run, row.step_id), at)
            self._reactions.send(draft, live, task(run, ended.scheduled, ended.attempt), resends, at)
        elif step is not None and step.attempt == row.attempt and step.due_at is None:
            # Else another attempt has taken the row's place, since the sweeper looked.
            self._reactions.carry_out(draft, live, ask_again(run, row.step_id), at)
            waits = step.exhausted is not None or step.parked is not None
            early = asked.due and not is_over(step, row.resends)
            again = self._reactions.expect if waits or early else self._reactions.send
            again(draft, live, task(run, step.scheduled, step.attempt), resends, at)

    def _signal(self, draft: Draft, live: LiveRun, one: Input, command: SignalRun, at: int, loaded: Loaded) -> None:
        """Tell a run a signal; if its code waits for something else, whoever sent it hears that."""
        if not live.run.exists:
            self._live.drop((one.run_id,))
            keep(draft, self._codec, one, command, loaded.inbox.setdefault(one.run_id, []), at)
            return
        command = self._once(draft, one, command, loaded)
        before = len(draft.refusals)
        self._advance(draft, live, command, at, loaded, runs_code=not one.refusals)
        for _, event, _ in draft.refusals[before:]:
            if event.message_id == command.message_id:
                draft.refused.append((one, DeadLetter(UNFIT_SIGNAL, event.detail)))

    def _once(self, draft: Draft, one: Input, command: SignalRun, loaded: Loaded) -> SignalRun:
        """Tell the core whether a signal's message id was taken before: stored, or in a draft on its way."""
        pair = (one.run_id, command.message_id)
        seen = pair in loaded.seen
        loaded.seen.add(pair)
        return SignalRun(name=command.name, message_id=command.message_id, input=command.input, seen=seen)

    def _empty_inbox(self, draft: Draft, live: LiveRun, rows: list[InboxRow], at: int, loaded: Loaded) -> None:
        for row in rows:
            loaded.seen.add((row.run_id, row.message_id))
            try:
                self._advance(draft, live, signal_of(self._codec, row), at, loaded)
            except DeadLetter:
                log.info("signal %s of run %s came before a run that ended at once", row.message_id, row.run_id)
            take_out(draft, row)

    def _give_up(self, draft: Draft, live: LiveRun, row: InboxRow, waiting: list[InboxRow]) -> None:
        """Put a signal aside whose run never came; a run that came meanwhile has it, or it was put aside already."""
        if live.run.exists:
            take_out(draft, row)
            return
        self._live.drop((row.run_id,))
        if row not in waiting:
            return
        waiting.remove(row)
        take_out(draft, row)
        draft.prompt.append(never_started(self._codec, self._wire, row))

    def _refuse(self, draft: Draft, one: Input, dead: DeadLetter) -> None:
        draft.refused.append((one, dead))
        live = self._live.get(one.run_id)
        if live is not None and not live.run.exists:
            self._live.drop((one.run_id,))
        elif live is not None and live.run.ended and not live.uncommitted:
            draft.done_with.append(one.run_id)  # whoever asks again finds its last event in the store
        if one.origin is not None:
            draft.prompt.append(self._wire.dead(one.origin, dead.reason, str(dead)))
