"""An effect in its run: it settles by the ledger's word alone, and everything else is a request."""

import msgspec
import pytest

from holdfast.core import events as e
from holdfast.core.commands import (
    AbandonStep,
    CompleteStep,
    FailStep,
    HearLedger,
    ResolveEffect,
    TerminateRun,
    WithdrawStep,
)
from holdfast.core.retry import RetrySchedule
from holdfast.core.run import PARKED, RUNNING
from holdfast.core.settling import UNWANTED
from tests.unit.given import NOON, SECOND, TIMEOUT, completed, ended, given, payload, scheduled, started

ONCE = RetrySchedule(attempts=1)
CHARGE = "charge#1"


def charged(retry: RetrySchedule | None = None) -> e.StepScheduled:
    """The code asked for an effect."""
    return msgspec.structs.replace(scheduled(CHARGE, name="charge", retry=retry), guard="provider_key", key="k" * 32)


def failure(state: str, attempt: int = 1, not_before: int | None = None) -> FailStep:
    return FailStep(step_id=CHARGE, attempt=attempt, error=TIMEOUT, at=NOON, ledger=state, not_before=not_before)


def word(state: str, attempt: int | None = None) -> HearLedger:
    return HearLedger(step_id=CHARGE, state=state, attempt=attempt, reason="unclear")


def exhausted() -> e.StepExhausted:
    return e.StepExhausted(step_id=CHARGE, attempt=1, error=TIMEOUT)


def parked() -> e.StepParked:
    return e.StepParked(step_id=CHARGE, reason="unclear")


def withdrawn() -> e.StepWithdrawn:
    return e.StepWithdrawn(step_id=CHARGE)


def asked_to(verdict: str) -> e.ResolutionRequested:
    return e.ResolutionRequested(step_id=CHARGE, version=4, verdict=verdict, by="ada", reason="looked")


@pytest.mark.parametrize("state", ["PLANNED", "IN_DOUBT", ""])
def test_an_effect_whose_attempts_run_out_asks_the_ledger_and_does_not_fail(state: str) -> None:
    given(started(), charged(ONCE)).when(failure(state)).then(exhausted())


@pytest.mark.parametrize("state", ["PLANNED", "IN_DOUBT"])
def test_an_unsettled_effect_is_tried_again_by_its_schedule(state: str) -> None:
    retried = e.StepRetried(step_id=CHARGE, attempt=2, due_at=NOON + SECOND // 10, error=TIMEOUT)
    given(started(), charged()).when(failure(state)).then(retried)


def test_a_further_attempt_waits_until_it_makes_sense() -> None:
    later = NOON + 30 * SECOND
    retried = e.StepRetried(step_id=CHARGE, attempt=2, due_at=later, error=TIMEOUT)
    given(started(), charged()).when(failure("IN_DOUBT", not_before=later)).then(retried)


def test_a_refusal_that_the_ledger_has_settles_the_effect_whatever_attempt_heard_it() -> None:
    failed = e.StepFailed(step_id=CHARGE, attempt=7, error=TIMEOUT)
    given(started(), charged()).when(failure("FAILED", attempt=7)).then(failed)


def test_the_ledgers_proof_settles_an_effect_that_nobody_wanted_any_more() -> None:
    given(started(), charged(), withdrawn()).when(CompleteStep(step_id=CHARGE, attempt=1, result=payload("2"))).then(
        completed(CHARGE)
    )


def test_withdrawing_an_effect_is_a_request_and_is_made_once() -> None:
    run = given(started(), charged()).when(WithdrawStep(step_id=CHARGE)).then(withdrawn())
    assert CHARGE in run.open_steps
    given(started(), charged(), withdrawn()).when(WithdrawStep(step_id=CHARGE)).then_nothing()


def test_an_effect_that_was_closed_before_it_was_sent_is_cancelled_for_its_code() -> None:
    given(started(), charged(), withdrawn()).when(word("CANCELLED")).then(e.StepCancelled(step_id=CHARGE))


def test_an_effect_that_was_closed_for_lack_of_attempts_has_failed_with_the_last_ones_error() -> None:
    failed = e.StepFailed(step_id=CHARGE, attempt=1, error=TIMEOUT)
    given(started(), charged(ONCE), exhausted()).when(word("CANCELLED")).then(failed)


@pytest.mark.parametrize("state", ["CLAIMED", "INFLIGHT", "IN_DOUBT", "RECONCILING", "PLANNED"])
def test_an_effect_on_its_way_is_waited_for(state: str) -> None:
    given(started(), charged(), withdrawn()).when(word(state)).then_nothing()


def test_a_withdrawn_effect_that_was_not_sent_is_not_tried_again() -> None:
    given(started(), charged(), withdrawn()).when(failure("PLANNED")).then(exhausted())


def test_a_withdrawn_effect_in_doubt_is_brought_to_its_verdict() -> None:
    retried = e.StepRetried(step_id=CHARGE, attempt=2, due_at=NOON + SECOND // 10, error=TIMEOUT)
    given(started(), charged(), withdrawn()).when(failure("IN_DOUBT")).then(retried)


def test_a_run_stands_parked_when_its_parked_effect_is_all_that_is_left() -> None:
    run = given(started(), charged()).when(word("PARKED", attempt=1)).then(parked())
    assert (run.status, run.stands) == (RUNNING, "effect_parked")


def test_a_run_with_a_parked_effect_goes_on_with_its_other_steps() -> None:
    run = given(started(), charged(), scheduled("read#1"), parked()).state()
    assert run.stands is None


def test_a_late_word_of_an_earlier_attempt_parks_nothing() -> None:
    retried = e.StepRetried(step_id=CHARGE, attempt=2, due_at=NOON, error=TIMEOUT)
    given(started(), charged(), retried).when(word("PARKED", attempt=1)).then_nothing()


def test_a_persons_verdict_is_a_request_to_the_ledger() -> None:
    command = ResolveEffect(step_id=CHARGE, version=4, verdict="retry", by="ada", reason="looked")
    given(started(), charged(), parked()).when(command).then(asked_to("retry"))


def test_an_effect_that_a_person_lets_go_again_gets_a_further_attempt() -> None:
    run = (
        given(started(), charged(), parked(), asked_to("retry"))
        .when(word("PLANNED"))
        .then(e.StepAttempted(step_id=CHARGE, attempt=2))
    )
    assert (run.stands, run.open_steps[CHARGE].attempt) == (None, 2)


def test_a_resolution_of_a_run_that_nobody_started_is_a_dead_letter() -> None:
    given().when(ResolveEffect(step_id=CHARGE, version=4, verdict="retry", by="ada", reason="x")).then_refused(
        "run_unknown"
    )


def test_a_verdict_that_is_none_of_the_three_is_a_dead_letter_and_never_a_retry() -> None:
    command = ResolveEffect(step_id=CHARGE, version=4, verdict="perhaps", by="ada", reason="x")
    given(started(), charged(), parked()).when(command).then_refused("verdict_unknown")


def test_a_resolution_of_a_settled_effect_changes_nothing() -> None:
    command = ResolveEffect(step_id=CHARGE, version=4, verdict="retry", by="ada", reason="x")
    given(started(), charged(), completed(CHARGE)).when(command).then_nothing()


@pytest.mark.parametrize("last", [e.RunTerminated(reason="x"), ended()])
def test_the_effects_of_an_ended_run_are_still_looked_after(last: e.Event) -> None:
    run = given(started(), charged(), scheduled("read#1"), last).state()
    assert (list(run.unsettled), run.open_steps) == ([CHARGE], {})


def test_terminating_a_run_that_stands_parked_by_an_effect_ends_it() -> None:
    run = given(started(), charged(), parked()).when(TerminateRun(reason="x")).then(e.RunTerminated(reason="x"))
    assert run.stands is None
    assert run.status != PARKED


def test_a_persons_retry_counts_even_if_the_run_has_not_heard_yet_that_the_effect_was_parked() -> None:
    run = (
        given(started(), charged(), asked_to("retry"))
        .when(word("PLANNED"))
        .then(e.StepAttempted(step_id=CHARGE, attempt=2))
    )
    assert not run.open_steps[CHARGE].resolving
    given(started(), charged(), asked_to("retry"), e.StepAttempted(step_id=CHARGE, attempt=2)).when(
        word("PARKED", attempt=1)
    ).then_nothing()


def test_a_step_that_was_an_effect_when_it_was_scheduled_is_never_just_abandoned() -> None:
    given(started(), charged()).when(AbandonStep(step_id=CHARGE)).then(withdrawn())
    given(started(), charged(), withdrawn()).when(AbandonStep(step_id=CHARGE)).then_nothing()


def test_a_person_who_says_that_an_effect_nobody_wants_did_not_happen_lets_it_be_closed() -> None:
    run = (
        given(started(), charged(), withdrawn(), parked(), asked_to("retry"))
        .when(word("PLANNED"))
        .then(e.StepExhausted(step_id=CHARGE, attempt=1, error=UNWANTED))
    )
    assert run.stands == "effect_parked"
