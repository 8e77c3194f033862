"""Carrying out what follows from events (core/react.py): rows of a draft, tasks, questions to the ledger.

Laws of this file:
- Nothing is decided here: what a message does not say is not asked of the run.
- Nothing is sent here: what a draft has to send goes out when it is committed.
- A task that this very commit closes, or whose effect it withdraws, is not sent at all.
"""

from collections.abc import Callable, Iterable
from typing import assert_never

import msgspec

from holdfast.app.orchestrator import ledger_requests
from holdfast.app.orchestrator.draft import Draft, Input
from holdfast.app.orchestrator.run_cache import LiveRun
from holdfast.core.behind import TURN
from holdfast.core.children import remind
from holdfast.core.commands import ContinueTurn, ExecuteStep, RunOutcome
from holdfast.core.identity import shard_of
from holdfast.core.messages import (
    AskLedger,
    Bury,
    ClearTimer,
    CloseAttempt,
    Continue,
    ExpectAnswer,
    Message,
    PlanEffect,
    PutAside,
    Send,
    SetTimer,
    TakeSignal,
    WithholdAttempt,
)
from holdfast.core.purging import Tombstone
from holdfast.core.retry import MICROS
from holdfast.core.settling import OpenStep
from holdfast.ports.timers import AttemptRow, TimerRow

Other = (
    Send
    | SetTimer
    | Continue
    | ClearTimer
    | TakeSignal
    | PlanEffect
    | AskLedger
    | WithholdAttempt
    | ExpectAnswer
    | PutAside
    | Bury
)

RESEND_AFTER = 60.0
DOUBLED = 8
CONTINUED_AFTER = 10.0
"""Seconds after which a run whose turn was cut is looked for, if it was not continued: more than a slice ever waits."""


class Reactions:
    """Carries messages out. `serves` tells whether a queue is served in this very process."""

    def __init__(self, process: str, serves: Callable[[str], bool], *, shards: int, publishes: bool) -> None:
        self._shards = shards
        self._process = process
        self._serves = serves
        self._publishes = publishes

    def carry_out(self, draft: Draft, live: LiveRun, messages: Iterable[Message], at: int) -> None:
        """Note in the draft what the messages of a run ask for, in their order."""
        run = live.run
        run_id, incarnation = run.run_id, run.incarnation
        for message in messages:
            # Every run comes by these: `type() is` costs a fortieth of a `case` that fails (docs/performance.md).
            if type(message) is ExecuteStep:
                self.send(draft, live, message, 0, at)
            elif type(message) is CloseAttempt:
                attempt = (run_id, incarnation, message.step_id)
                draft.attempts[attempt] = None
                draft.tasks.pop(attempt, None)
            elif type(message) is RunOutcome:
                self._conclude(draft, live, message, at)
            else:
                self._carry(draft, live, message, at)

    def _carry(self, draft: Draft, live: LiveRun, message: Other, at: int) -> None:  # noqa: C901 - a case for each message: a table
        run = live.run
        run_id, incarnation = run.run_id, run.incarnation
        match message:
            case Send():
                if message.awaits:
                    self._expect_reply(draft, live, message.awaits, 0, at)
                self._send_on(draft, live, message, at)
            case SetTimer(timer_id=timer_id, due_at=due_at):
                row = TimerRow(run_id, incarnation, timer_id, live.shard, due_at)
                draft.timers[run_id, incarnation, timer_id] = row
            case ClearTimer(timer_id=timer_id):
                draft.timers[run_id, incarnation, timer_id] = None
            case Continue(cut=cut):
                # This process goes on at once, behind what waits. If it dies, the shard's next owner finds the timer.
                row = TimerRow(run_id, incarnation, TURN, live.shard, at + int(CONTINUED_AFTER * MICROS))
                draft.timers[run_id, incarnation, TURN] = row
                draft.later.append(Input(live.shard, run_id, ContinueTurn(cut=cut), incarnation))
            case TakeSignal(message_id=message_id):
                draft.batch(live.shard).signals.append((run_id, message_id))
            case PlanEffect(scheduled=scheduled):
                ledger_requests.plan(draft, live, scheduled, at)
            case AskLedger():
                ledger_requests.ask(draft, live, message, self._process)
            case WithholdAttempt(step_id=step_id):
                draft.tasks.pop((run_id, incarnation, step_id), None)
            case ExpectAnswer(task=task, due_at=due_at):
                self.expect(draft, live, task, 0, at, due_at)
            case PutAside(refused=refused):
                draft.refusals.append((run_id, refused, at))
            case Bury(input_hash=hashed):
                bury(draft, live, hashed)
            case _:
                assert_never(message)

    def _conclude(self, draft: Draft, live: LiveRun, told: RunOutcome, at: int) -> None:
        told = msgspec.structs.replace(told, started_at=live.started_at, ended_at=at)
        draft.ended.append(told)
        if self._publishes:
            draft.concluded.append((told, live.run.incarnation, live.run.seq, live.trace))

    def remind(self, draft: Draft, live: LiveRun, step_id: str, resends: int, at: int) -> None:
        """Say again to a child what it may not have heard."""
        self._expect_reply(draft, live, step_id, resends, at)
        for message in remind(live.run, step_id):
            self._send_on(draft, live, message, at)

    def _send_on(self, draft: Draft, live: LiveRun, message: Send, at: int) -> None:
        """Send a command to another entity: by the log, or in memory where no other process has shards."""
        if self._publishes:
            draft.sends.append((message, at, live.trace))
        else:
            shard = shard_of(message.to, self._shards)
            draft.later.append(Input(shard, message.to, message.command, message.incarnation, sent=message))

    def _expect_reply(self, draft: Draft, live: LiveRun, step_id: str, resends: int, at: int) -> None:
        """Note when to ask after a command that another entity has to answer."""
        run_id, incarnation = live.run.run_id, live.run.incarnation
        resend_at = at + int(RESEND_AFTER * 2 ** min(resends, DOUBLED) * MICROS)
        sent_to = None if self._publishes else self._process
        draft.attempts[run_id, incarnation, step_id] = AttemptRow(
            run_id, incarnation, step_id, 1, live.shard, sent_to, resend_at, resends
        )

    def send(self, draft: Draft, live: LiveRun, task: ExecuteStep, resends: int, at: int) -> None:
        """Send an attempt once the draft is committed, and note when to ask after it."""
        self.expect(draft, live, task, resends, at)
        draft.tasks[task.run_id, task.incarnation, task.step_id] = (task, live, at)

    def expect(
        self, draft: Draft, live: LiveRun, task: ExecuteStep, resends: int, at: int, due_at: int | None = None
    ) -> None:
        """Note when to ask after an attempt: at `due_at`, or when its answer is overdue.

        Of an effect the ledger can be asked long before its time is over.
        """
        run_id, incarnation, step_id = task.run_id, task.incarnation, task.step_id
        sent_to = self._process if self._serves(task.queue) else None
        wait = RESEND_AFTER
        if task.guard is None:
            wait = max(wait, task.timeout, task.heartbeat or 0)
        if resends:
            wait *= 2 ** min(resends, DOUBLED)
        resend_at = due_at or at + int(wait * MICROS)
        draft.attempts[run_id, incarnation, step_id] = AttemptRow(
            run_id, incarnation, step_id, task.attempt, live.shard, sent_to, resend_at, resends
        )


def bury(draft: Draft, live: LiveRun, input_hash: bytes) -> None:
    """Let a run go with this commit, once; its last event was its end."""
    run, purged = live.run, draft.batch(live.shard).purged
    if all(one.run_id != run.run_id for one in purged):
        purged.append(Tombstone(run.run_id, run.incarnation, input_hash, live.last_at))


def is_over(step: OpenStep, resends: int) -> bool:
    """Tell whether an attempt that was asked after so often has had its time, so that it may be sent again."""
    return not step.is_effect or RESEND_AFTER * (2 ** (min(resends, DOUBLED) + 1) - 1) >= step.scheduled.timeout
