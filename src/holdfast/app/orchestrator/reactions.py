"""What follows from an event: the rows of a draft, and the tasks to be sent once it is committed.

Laws of this file:
- An attempt that is open has a row; one that is settled, or whose run has ended, has none. The same for timers.
- A parked run has no timers in the store: they would stay due, and stand before those of all other runs. Its state
  knows them, and resuming sets them again. (A run that waits for a parked effect is not parked: its timers go on.)
- Nothing is sent here: a draft's tasks go out when it is committed.
"""

from collections.abc import Callable, Mapping
from typing import Any

from holdfast.app.orchestrator import ledger_requests
from holdfast.app.orchestrator.draft import RETRY, Draft
from holdfast.app.orchestrator.run_cache import LiveRun
from holdfast.core import events as e
from holdfast.core.commands import AttemptStep, FireTimer
from holdfast.core.retry import MICROS
from holdfast.core.run import Run, task
from holdfast.core.settling import OpenStep
from holdfast.core.sharing import ordered
from holdfast.ports.store import AttemptRow, TimerRow

Settled = e.StepCompleted | e.StepFailed | e.StepAbandoned | e.StepCancelled
Follow = Callable[[Draft, LiveRun, Run, Any, int], None]
"""Note what follows from an event of a run: the draft, the run, its state before, the event, its time."""

RESEND_AFTER = 60.0
DOUBLED = 8


class Reactions:
    """What each kind of event brings. `serves` tells whether a queue is served in this very process."""

    def __init__(self, process: str, serves: Callable[[str], bool]) -> None:
        self._process = process
        self._serves = serves
        self.by_kind: Mapping[type[e.Event], Follow] = {
            e.StepScheduled: self._scheduled,
            e.StepAttempted: self._attempted,
            e.StepCompleted: self._settled,
            e.StepFailed: self._settled,
            e.StepAbandoned: self._settled,
            e.StepCancelled: self._settled,
            e.StepWithdrawn: self._requested,
            e.StepExhausted: self._requested,
            e.ResolutionRequested: self._requested,
            e.StepRetried: self._retried,
            e.TimerStarted: self._timer_started,
            e.TimerFired: self._timer_over,
            e.TimerCancelled: self._timer_over,
            e.SignalReceived: self._signalled,
            e.SignalRefused: self._refused,
            e.RunParked: self._parked,
            e.RunResumed: self._resumed,
        }

    def _scheduled(self, draft: Draft, live: LiveRun, _: Run, event: e.StepScheduled, at: int) -> None:
        if event.guard is not None:
            ledger_requests.plan(draft, live, event, at)
        step = live.run.open_steps.get(event.step_id)
        if step is not None and step.withdrawn:  # by this very turn: the ledger closes it once it is planned
            self.expect(draft, live, step, 0, at)
        else:
            self._send_first(draft, live, event.step_id, at)

    def _send_first(self, draft: Draft, live: LiveRun, step_id: str, at: int) -> None:
        """Send an attempt that was just scheduled, unless the same turn has ended the wait for it."""
        step = live.run.open_steps.get(step_id)
        if step is not None:
            self.send(draft, live, step, 0, at)

    def _attempted(self, draft: Draft, live: LiveRun, _: Run, event: e.StepAttempted, at: int) -> None:
        run = live.run
        draft.timers[run.run_id, run.incarnation, retry_timer(event.step_id, event.attempt)] = None
        self._send_first(draft, live, event.step_id, at)

    def _settled(self, draft: Draft, live: LiveRun, before: Run, event: Settled, _: int) -> None:
        close(draft, live.run, event.step_id, before)

    def _requested(self, draft: Draft, live: LiveRun, _: Run, event: e.Event, __: int) -> None:
        ledger_requests.request(draft, live, event, self._process)

    def _retried(self, draft: Draft, live: LiveRun, _: Run, event: e.StepRetried, __: int) -> None:
        run = live.run
        draft.attempts[run.run_id, run.incarnation, event.step_id] = None
        set_timer(draft, live, retry_timer(event.step_id, event.attempt), event.due_at)

    def _timer_started(self, draft: Draft, live: LiveRun, _: Run, event: e.TimerStarted, __: int) -> None:
        if event.timer_id in live.run.timers:
            set_timer(draft, live, event.timer_id, event.due_at)

    def _timer_over(self, draft: Draft, live: LiveRun, _: Run, event: e.TimerFired | e.TimerCancelled, __: int) -> None:
        draft.timers[live.run.run_id, live.run.incarnation, event.timer_id] = None

    def _signalled(self, draft: Draft, live: LiveRun, _: Run, event: e.SignalReceived, __: int) -> None:
        draft.batch(live.shard).signals.append((live.run.run_id, event.message_id))

    def _refused(self, draft: Draft, live: LiveRun, _: Run, event: e.SignalRefused, at: int) -> None:
        draft.refusals.append((live.run.run_id, event, at))

    def _parked(self, draft: Draft, live: LiveRun, _: Run, __: e.RunParked, ___: int) -> None:
        rearm(draft, live)

    def _resumed(self, draft: Draft, live: LiveRun, _: Run, __: e.RunResumed, ___: int) -> None:
        rearm(draft, live)

    def send(self, draft: Draft, live: LiveRun, step: OpenStep, resends: int, at: int) -> None:
        """Send an attempt once the draft is committed, and note when to ask after it."""
        self.expect(draft, live, step, resends, at)
        draft.tasks.append((task(live.run, step), live, at))

    def expect(
        self, draft: Draft, live: LiveRun, step: OpenStep, resends: int, at: int, due_at: int | None = None
    ) -> None:
        """Note when to ask after an attempt: at `due_at`, or when its answer is overdue.

        Of an effect the ledger can be asked long before its time is over.
        """
        run, scheduled = live.run, step.scheduled
        run_id, incarnation, step_id = run.run_id, run.incarnation, scheduled.step_id
        sent_to = self._process if self._serves(scheduled.queue) else None
        wait = RESEND_AFTER
        if not step.is_effect:
            wait = max(wait, scheduled.timeout, scheduled.heartbeat or 0)
        if resends:
            wait *= 2 ** min(resends, DOUBLED)
        resend_at = due_at or at + int(wait * MICROS)
        draft.attempts[run_id, incarnation, step_id] = AttemptRow(
            run_id, incarnation, step_id, step.attempt, live.shard, sent_to, resend_at, resends
        )


def is_over(step: OpenStep, resends: int) -> bool:
    """Tell whether an attempt that was asked after so often has had its time, so that it may be sent again."""
    return not step.is_effect or RESEND_AFTER * (2 ** (min(resends, DOUBLED) + 1) - 1) >= step.scheduled.timeout


def close(draft: Draft, run: Run, step_id: str, before: Run) -> None:
    """Note that a step is settled; `before` is the state in which it was open."""
    draft.attempts[run.run_id, run.incarnation, step_id] = None
    step = before.open_steps.get(step_id)
    if step is not None and step.due_at is not None:
        draft.timers[run.run_id, run.incarnation, retry_timer(step_id, step.attempt)] = None


def set_timer(draft: Draft, live: LiveRun, timer_id: str, due_at: int) -> None:
    """Note a wait; one of a parked run is taken out of the store until the run is resumed."""
    run = live.run
    row = TimerRow(run.run_id, run.incarnation, timer_id, live.shard, due_at)
    draft.timers[run.run_id, run.incarnation, timer_id] = row if run.parked is None else None


def rearm(draft: Draft, live: LiveRun) -> None:
    """Set all timers of a run again, or take them off if it is parked; those that are overdue fire now."""
    run = live.run
    for timer_id in ordered(run.timers):
        set_timer(draft, live, timer_id, run.timers[timer_id])
    for step_id in ordered(run.open_steps):
        step = run.open_steps[step_id]
        if step.due_at is not None:
            set_timer(draft, live, retry_timer(step_id, step.attempt), step.due_at)


def take_off(draft: Draft, live: LiveRun, command: FireTimer | AttemptStep) -> None:
    """Take a timer off that nothing waits for now: its run is parked, or it was met before."""
    if isinstance(command, FireTimer):
        timer_id = command.timer_id
        waits = timer_id in live.run.timers
    else:
        timer_id = retry_timer(command.step_id, command.attempt)
        step = live.run.open_steps.get(command.step_id)
        waits = step is not None and step.attempt == command.attempt and step.due_at is not None
    if live.run.parked is not None or not waits:
        draft.timers[live.run.run_id, live.run.incarnation, timer_id] = None


def retry_timer(step_id: str, attempt: int) -> str:
    """Name the timer of the wait before an attempt."""
    return f"{RETRY}{attempt}:{step_id}"
