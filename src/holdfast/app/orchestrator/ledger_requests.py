"""What a turn has to say to the ledger: planning an effect, and asking for the verdict of one.

Laws of this file:
- An effect is planned in the commit that schedules it; what is asked goes to the ledger in the commit that records why.
- Asking twice changes nothing. A question about an effect that this very commit plans is asked right after it.
- An ended run's effects go on to their verdict; its history does not.
"""

from typing import Final, assert_never

from holdfast.app.orchestrator.draft import AskAgain, Draft, Input
from holdfast.app.orchestrator.run_cache import LiveRun
from holdfast.core import events as e
from holdfast.core.asks import Ask, Cancel, Close, Expire, Resolve, Terms
from holdfast.core.commands import Command, CompleteStep, FailStep, HearLedger, ResolveEffect
from holdfast.core.effects import FAILED, SETTLED, Effect
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


def request(draft: Draft, live: LiveRun, event: e.Event, process: str) -> None:
    """Ask the ledger for what an event requests of it."""
    match event:
        case e.StepWithdrawn(step_id=step_id):
            ask(draft, live, step_id, Cancel(who=process))
        case e.StepExhausted(step_id=step_id, error=error):
            reason = f"no attempts are left; the last one: {error.message}"
            ask(draft, live, step_id, Close(who=process, reason=reason))
        case e.ResolutionRequested(step_id=step_id):
            ask(draft, live, step_id, resolution(event))
        case _:
            pass


def ask(draft: Draft, live: LiveRun, step_id: str, question: Ask) -> None:
    """Put a question into the commit; its answer comes back as a command."""
    step = live.run.open_steps.get(step_id) or live.run.unsettled.get(step_id)
    if step is None or step.scheduled.key is None:
        return
    again = Input(live.shard, live.run.run_id, AskAgain(step_id), live.run.incarnation)
    if step.scheduled.key in draft.planned:
        draft.later.append(again)
    else:
        draft.batch(live.shard).asked.append((step.scheduled.key, question))
        draft.asked_again.append(again)


def ask_again(draft: Draft, live: LiveRun, step_id: str, process: str) -> None:
    """Ask for the verdict of an effect that nobody wants, or has attempts left for, or that a person decides on."""
    step = live.run.open_steps.get(step_id)
    if step is None or step.withdrawn:
        ask(draft, live, step_id, Cancel(who=process))
    elif step.exhausted is not None:
        ask(draft, live, step_id, Close(who=process, reason=step.exhausted.message))
    elif step.awaits_a_person:
        ask(draft, live, step_id, Expire(who=process))  # nobody holds it: the answer says how it stands


def after_the_end(draft: Draft, live: LiveRun, command: Command, at: int) -> tuple[OpenStep, int] | None:
    """Note the verdict of an ended run's effect, or pass a person's on; gives what is still to be tried, and when."""
    run = live.run
    if not run.unsettled or not isinstance(command, (ResolveEffect, CompleteStep, FailStep, HearLedger)):
        return None
    if command.step_id not in run.unsettled:
        return None
    if isinstance(command, ResolveEffect):
        ask(draft, live, command.step_id, resolution(command))
    elif is_verdict(command):
        draft.attempts[run.run_id, run.incarnation, command.step_id] = None
    elif isinstance(command, FailStep) and command.error.type != UNHEARD:  # that one is being asked after already
        pause = 0 if command.error.type in OF_THE_ENGINE else PAUSE
        return run.unsettled[command.step_id], max(at + pause, command.not_before or 0)
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


def resolution(said: e.ResolutionRequested | ResolveEffect) -> Resolve:
    """Put a person's verdict into the ledger's words."""
    return Resolve(
        who=said.by,
        version=said.version,
        verdict=said.verdict,
        reason=said.reason,
        result=said.result,
        error=said.error,
    )
