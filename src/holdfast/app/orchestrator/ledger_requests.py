"""What a turn has to say to the ledger: planning an effect, and asking for the verdict of one.

Laws of this file:
- An effect is planned in the commit that schedules it; what is asked goes to the ledger in the commit that records why.
- Asking twice changes nothing. A question about an effect that this very commit plans is asked right after it.
- An ended run's effects go on to their verdict; its history does not.
"""

from typing import Final, assert_never

import msgspec

from holdfast.app.orchestrator.draft import AskAgain, Draft, Input
from holdfast.app.orchestrator.run_cache import LiveRun
from holdfast.core import events as e
from holdfast.core.asks import Terms
from holdfast.core.commands import Command, CompleteStep, FailStep, HearLedger, ResolveEffect
from holdfast.core.effects import FAILED, SETTLED, Effect
from holdfast.core.messages import AskLedger
from holdfast.core.react import THE_PROCESS, ask_ledger, resolution
from holdfast.core.retry import OF_THE_ENGINE, UNHEARD
from holdfast.core.settling import OpenStep

PAUSE: Final = 60_000_000
"""Microseconds between two attempts of an ended run's effect."""


def plan(draft: Draft, live: LiveRun, event: e.StepScheduled, at: int) -> None:
    """Give an effect its row."""
    run, key = live.run, event.key or ""
    draft.planned.add(key)
    draft.batch(live.shard).planned.append(
        Effect(
            effect_id=key,
            run_id=run.run_id,
            incarnation=run.incarnation,
            step_id=event.step_id,
            shard=live.shard,
            name=event.name,
            key=key,
            request_hash=event.input_hash,
            terms=Terms(guard=event.guard or ""),
            planned_at=at,
        )
    )


def ask(draft: Draft, live: LiveRun, asked: AskLedger, process: str) -> None:
    """Put a question into the commit; its answer comes back as a command."""
    again = Input(live.shard, live.run.run_id, AskAgain(asked.step_id), live.run.incarnation)
    if asked.key in draft.planned:
        draft.later.append(again)
        return
    question = asked.question
    if question.who == THE_PROCESS:
        question = msgspec.structs.replace(question, who=process)
    draft.batch(live.shard).asked.append((asked.key, question))
    draft.asked_again.append(again)


def after_the_end(draft: Draft, live: LiveRun, command: Command, at: int, process: str) -> tuple[OpenStep, int] | None:
    """Note the verdict of an ended run's effect, or pass a person's on; gives what is still to be tried, and when."""
    run = live.run
    if not run.unsettled or not isinstance(command, (ResolveEffect, CompleteStep, FailStep, HearLedger)):
        return None
    step = run.unsettled.get(command.step_id)
    if step is None:
        return None
    if isinstance(command, ResolveEffect):
        for asked in ask_ledger(step, resolution(command)):
            ask(draft, live, asked, process)
    elif is_verdict(command):
        draft.attempts[run.run_id, run.incarnation, command.step_id] = None
    elif isinstance(command, FailStep) and command.error.type != UNHEARD:  # that one is being asked after already
        pause = 0 if command.error.type in OF_THE_ENGINE else PAUSE
        return step, max(at + pause, command.not_before or 0)
    return None


def is_verdict(command: CompleteStep | FailStep | HearLedger) -> bool:
    """Tell whether a word about an effect says that the ledger has settled it."""
    match command:
        case CompleteStep():
            return True
        case FailStep(ledger=state):
            return state == FAILED
        case HearLedger(state=state):
            return state in SETTLED
        case _:
            assert_never(command)
