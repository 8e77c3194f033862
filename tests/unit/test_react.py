"""What the outside hears of an event: each rule of core/react.py as given, happens, tells."""

import pytest
from msgspec.structs import replace

from holdfast.core import events as e
from holdfast.core.asks import Cancel, Close, Expire, Resolve
from holdfast.core.commands import ExecuteStep, RunOutcome
from holdfast.core.messages import (
    AskLedger,
    ClearTimer,
    CloseAttempt,
    ExpectAnswer,
    PlanEffect,
    PutAside,
    SetTimer,
    TakeSignal,
    WithholdAttempt,
)
from holdfast.core.react import ask_again, outcome, retry_timer
from holdfast.core.run import COMPLETED, FAILED
from tests.unit.given import (
    NOON,
    RUN_ID,
    TIMEOUT,
    attempted,
    completed,
    ended,
    given,
    parked,
    payload,
    retried,
    scheduled,
    started,
)

EFFECT = replace(scheduled("charge#1", name="charge"), kind="effect", guard="provider_key", key="k1")
TIMER = e.TimerStarted(timer_id="timer#1", due_at=NOON)
OUTCOMES = (ended(), e.RunFailed(error=TIMEOUT), e.RunCancelled(), e.RunTerminated(reason="fraud"))
SETTLED = (completed(), e.StepFailed(step_id="read#1", attempt=1, error=TIMEOUT), e.StepAbandoned(step_id="read#1"))


def task(of: e.StepScheduled, attempt: int = 1) -> ExecuteStep:
    return ExecuteStep(
        run_id=RUN_ID,
        incarnation=0,
        step_id=of.step_id,
        attempt=attempt,
        name=of.name,
        kind=of.kind,
        queue="default",
        input=payload("1"),
        timeout=600.0,
        workflow="order",
        guard=of.guard,
        key=of.key,
    )


def told(status: str = COMPLETED) -> RunOutcome:
    return RunOutcome(
        run_id=RUN_ID,
        workflow="order",
        version="1",
        status=status,
        result=payload("9") if status == COMPLETED else None,
        error=TIMEOUT if status == FAILED else None,
    )


# ------------------------------------------------------------ steps


def test_a_scheduled_step_is_a_task_for_a_worker() -> None:
    given(started()).happens(scheduled()).tells(task(scheduled()))


def test_an_effect_is_planned_before_it_is_a_task() -> None:
    given(started()).happens(EFFECT).tells(PlanEffect(EFFECT), task(EFFECT))


def test_a_further_attempt_is_a_task_of_its_own_and_its_timer_is_over() -> None:
    timer = ClearTimer(retry_timer("read#1", 2))
    given(started(), scheduled(), retried()).happens(attempted()).tells(timer, task(scheduled(), attempt=2))


def test_a_failed_attempt_is_closed_and_the_next_one_waits_for_its_time() -> None:
    wait = SetTimer(retry_timer("read#1", 2), NOON)
    given(started(), scheduled()).happens(retried()).tells(CloseAttempt("read#1"), wait)


def test_the_next_attempt_of_a_parked_run_waits_without_a_timer() -> None:
    given(started(), scheduled(), parked()).happens(retried()).tells(CloseAttempt("read#1"))


@pytest.mark.parametrize("settled", SETTLED)
def test_of_a_settled_step_nothing_more_is_expected(settled: e.Event) -> None:
    given(started(), scheduled()).happens(settled).tells(CloseAttempt("read#1"))


def test_a_step_that_is_settled_while_it_waits_for_its_next_attempt_clears_the_timer() -> None:
    timer = ClearTimer(retry_timer("read#1", 2))
    given(started(), scheduled(), retried()).happens(completed()).tells(CloseAttempt("read#1"), timer)


# ------------------------------------------------------------ effects


def test_an_effect_that_nobody_wants_is_not_sent_and_the_ledger_is_asked_to_close_it() -> None:
    withheld = WithholdAttempt("charge#1")
    asked = AskLedger("charge#1", "k1", Cancel(who=""))
    given(started(), EFFECT).happens(e.StepWithdrawn(step_id="charge#1")).tells(withheld, asked)


def test_running_out_of_attempts_asks_the_ledger_to_close_the_effect() -> None:
    reason = "no attempts are left; the last one: it took too long"
    exhausted = e.StepExhausted(step_id="charge#1", attempt=8, error=TIMEOUT)
    given(started(), EFFECT).happens(exhausted).tells(AskLedger("charge#1", "k1", Close(who="", reason=reason)))


def test_a_persons_verdict_is_put_to_the_ledger_in_her_name() -> None:
    verdict = e.ResolutionRequested(step_id="charge#1", version=3, verdict="retry", by="ann", reason="seen")
    question = Resolve(who="ann", version=3, verdict="retry", reason="seen")
    given(started(), EFFECT).happens(verdict).tells(AskLedger("charge#1", "k1", question))


@pytest.mark.parametrize(
    ("past", "question"),
    [
        ((e.StepWithdrawn(step_id="charge#1"),), Cancel(who="")),
        ((e.StepExhausted(step_id="charge#1", attempt=8, error=TIMEOUT),), Close(who="", reason=TIMEOUT.message)),
        ((e.StepParked(step_id="charge#1", reason="unclear"),), Expire(who="")),
        ((ended(),), Cancel(who="")),
    ],
)
def test_a_verdict_that_was_not_heard_is_asked_for_again(past: tuple[e.Event, ...], question: Cancel) -> None:
    assert ask_again(given(started(), EFFECT, *past).state(), "charge#1") == (AskLedger("charge#1", "k1", question),)


def test_nobody_asks_about_an_effect_that_is_under_way() -> None:
    assert ask_again(given(started(), EFFECT).state(), "charge#1") == ()


# ------------------------------------------------------------ timers and signals


def test_a_timer_is_set_and_cleared() -> None:
    given(started()).happens(TIMER).tells(SetTimer("timer#1", NOON))
    given(started(), TIMER).happens(e.TimerFired(timer_id="timer#1")).tells(ClearTimer("timer#1"))
    given(started(), TIMER).happens(e.TimerCancelled(timer_id="timer#1")).tells(ClearTimer("timer#1"))


def test_a_parked_run_takes_its_timers_off() -> None:
    retry = retry_timer("read#1", 2)
    past = (started(), TIMER, scheduled(), retried())
    given(*past).happens(parked()).tells(ClearTimer("timer#1"), ClearTimer(retry))


def test_a_resumed_run_sets_its_timers_again() -> None:
    retry = retry_timer("read#1", 2)
    past = (started(), TIMER, scheduled(), retried(), parked())
    given(*past).happens(e.RunResumed(by="ann")).tells(SetTimer("timer#1", NOON), SetTimer(retry, NOON))


def test_the_message_id_of_a_signal_is_used_up() -> None:
    signal = e.SignalReceived(message_id="m1", name="paid", input=payload("1"))
    given(started()).happens(signal).tells(TakeSignal("m1"))


def test_a_signal_that_the_code_cannot_take_is_put_aside() -> None:
    refused = e.SignalRefused(message_id="m1", name="paid", input=payload("1"), detail="no number")
    given(started()).happens(refused).tells(PutAside(refused))


# ------------------------------------------------------------ the end


@pytest.mark.parametrize(
    ("end", "status"), [*zip(OUTCOMES, (COMPLETED, FAILED, "CANCELLED", "TERMINATED"), strict=True)]
)
def test_the_end_of_a_run_is_an_outcome(end: e.Event, status: str) -> None:
    given(started()).happens(end).tells(told(status))


def test_an_ended_run_expects_nothing_more_of_its_steps_and_timers() -> None:
    past = (started(), scheduled(), retried(), TIMER)
    timers = (ClearTimer(retry_timer("read#1", 2)), ClearTimer("timer#1"))
    given(*past).happens(ended()).tells(CloseAttempt("read#1"), *timers, told())


def test_an_ended_run_asks_the_ledger_to_close_its_effects() -> None:
    asked = AskLedger("charge#1", "k1", Cancel(who=""))
    given(started(), EFFECT).happens(ended()).tells(WithholdAttempt("charge#1"), asked, told())


def test_an_effect_that_waits_for_an_attempt_when_its_run_ends_is_asked_after() -> None:
    past = (started(), EFFECT, retried("charge#1"))
    asked = AskLedger("charge#1", "k1", Cancel(who=""))
    wait = (ClearTimer(retry_timer("charge#1", 2)), ExpectAnswer(task(EFFECT, attempt=2), NOON))
    given(*past).happens(ended()).tells(WithholdAttempt("charge#1"), asked, *wait, told())


def test_an_outcome_says_when_its_run_began_and_ended() -> None:
    found = outcome(given(started(), ended()).state(), ended(), started_at=1, ended_at=2)
    assert (found.started_at, found.ended_at) == (1, 2)


@pytest.mark.parametrize(
    "event", [started(), e.CancelRequested(), e.StepParked(step_id="read#1", reason="worker_died")]
)
def test_nobody_outside_hears_of_the_rest(event: e.Event) -> None:
    given(started(), scheduled()).happens(event).tells_nothing()
