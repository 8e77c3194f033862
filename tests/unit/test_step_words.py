"""What a step says of its next attempt: wait so long, never again, or let a person look at it."""

import datetime as dt
import math

import pytest

from holdfast import GIVEN, Fatal, Retry, RetryAfter, effect, step
from holdfast.core import events as e
from holdfast.core.commands import CompleteStep, FailStep, ResumeRun
from holdfast.core.retry import PARK, Failure, RetrySchedule
from holdfast.core.run import RUNNING, WORKER_DIED, decide
from holdfast.core.settling import ATTEMPTS_EXHAUSTED
from holdfast.sdk.attempts import failed_attempt
from tests.unit.given import NOON, SECOND, TIMEOUT, attempted, completed, given, payload, retried, scheduled, started

PARKING = RetrySchedule(attempts=2, jitter=0.0, on_exhausted=PARK)
LATER = Failure("RetryAfter", "busy", retry_after=30.0)
NEVER = Failure("Fatal", "no such account", retryable=False)
EXHAUSTED = "attempts_exhausted: attempt 2 was the last; it failed with TimeoutError: it took too long"
STEP_PARKED = e.StepParked(step_id="read#1", reason=EXHAUSTED)


def failed(attempt: int = 1, error: Failure = TIMEOUT) -> FailStep:
    return FailStep(step_id="read#1", attempt=attempt, error=error, at=NOON)


# -- RetryAfter


def test_a_step_gets_the_time_that_it_asks_for() -> None:
    expected = e.StepRetried(step_id="read#1", attempt=2, due_at=NOON + 30 * SECOND, error=LATER)
    given(started(), scheduled()).when(failed(error=LATER)).then(expected)


def test_a_step_that_asks_for_less_than_its_schedule_waits_by_its_schedule() -> None:
    slow = scheduled(retry=RetrySchedule(initial=60.0, jitter=0.0))
    expected = e.StepRetried(step_id="read#1", attempt=2, due_at=NOON + 60 * SECOND, error=LATER)
    given(started(), slow).when(failed(error=LATER)).then(expected)


def test_asking_for_time_counts_as_an_attempt() -> None:
    once = scheduled(retry=RetrySchedule(attempts=1))
    expected = e.StepFailed(step_id="read#1", attempt=1, error=LATER)
    given(started(), once).when(failed(error=LATER)).then(expected)


def test_who_asks_for_more_than_the_total_time_has_failed() -> None:
    expected = e.StepFailed(step_id="read#1", attempt=1, error=LATER)
    given(started(), scheduled(deadline=NOON + 30 * SECOND)).when(failed(error=LATER)).then(expected)


def test_a_step_that_asks_for_time_is_tried_again_whatever_errors_its_author_names() -> None:
    picky = scheduled(retry=RetrySchedule(on=("builtins.OSError",), never_on=("builtins.Exception",)))
    expected = e.StepRetried(step_id="read#1", attempt=2, due_at=NOON + 30 * SECOND, error=LATER)
    given(started(), picky).when(failed(error=LATER)).then(expected)


@pytest.mark.parametrize("wait", [math.nan, -1.0, math.inf, 1e300])
def test_no_number_from_elsewhere_stops_a_run(wait: float) -> None:
    command = failed(error=Failure("RetryAfter", "busy", retry_after=wait))
    (event,) = decide(given(started(), scheduled()).state(), command)
    assert isinstance(event, e.StepRetried)


# -- Fatal


def test_a_step_that_gives_up_has_failed() -> None:
    expected = e.StepFailed(step_id="read#1", attempt=1, error=NEVER)
    given(started(), scheduled()).when(failed(error=NEVER)).then(expected)


# -- on_exhausted="park"


def test_a_step_whose_attempts_have_run_out_waits_for_a_person() -> None:
    past = (started(), scheduled(retry=PARKING), retried(), attempted())
    run = given(*past).when(failed(attempt=2)).then(STEP_PARKED)
    assert (run.status, run.stands) == (RUNNING, ATTEMPTS_EXHAUSTED)


def test_a_step_whose_total_time_is_over_waits_for_a_person_too() -> None:
    in_vain = scheduled(retry=PARKING, deadline=NOON)
    reason = EXHAUSTED.replace("attempt 2", "attempt 1")
    given(started(), in_vain).when(failed()).then(e.StepParked(step_id="read#1", reason=reason))


@pytest.mark.parametrize("error", [NEVER, Failure("KeyError", "x", kinds=("builtins.KeyError",))])
def test_what_is_not_to_be_tried_again_fails_all_the_same(error: Failure) -> None:
    retry = RetrySchedule(never_on=("builtins.KeyError",), on_exhausted=PARK)
    expected = e.StepFailed(step_id="read#1", attempt=1, error=error)
    given(started(), scheduled(retry=retry)).when(failed(error=error)).then(expected)


def test_a_resume_tries_it_once_more_and_it_may_be_parked_again() -> None:
    past = (started(), scheduled(retry=PARKING), retried(), attempted(), STEP_PARKED)
    given(*past).when(ResumeRun(by="ada")).then(attempted(attempt=3))
    again = e.StepParked(step_id="read#1", reason=EXHAUSTED.replace("attempt 2", "attempt 3"))
    given(*past, attempted(attempt=3)).when(failed(attempt=3)).then(again)


def test_a_late_success_settles_what_is_parked() -> None:
    past = (started(), scheduled(retry=PARKING), retried(), attempted(), STEP_PARKED)
    run = given(*past).when(CompleteStep(step_id="read#1", attempt=1, result=payload("2"))).then(completed())
    assert run.stands is None


def test_a_run_that_also_waits_for_a_deadly_step_says_so() -> None:
    died = e.StepParked(step_id="read#2", reason="worker_died: SIGSEGV")
    assert given(started(), scheduled(), scheduled("read#2"), STEP_PARKED, died).state().stands == WORKER_DIED


# -- how it is said


def test_what_a_step_raises_is_told_with_what_it_says_of_its_next_attempt() -> None:
    assert failed_attempt(RetryAfter(dt.timedelta(minutes=1)), "read#1").retry_after == 60.0
    assert failed_attempt(RetryAfter(5, "busy"), "read#1").message == "busy"
    assert not failed_attempt(Fatal("no such account"), "read#1").retryable
    assert failed_attempt(KeyError("x"), "read#1").retryable


def test_a_task_group_between_does_not_hide_it() -> None:
    assert failed_attempt(ExceptionGroup("two", [RetryAfter(5), RetryAfter(7)]), "read#1").retry_after == 7.0
    assert not failed_attempt(ExceptionGroup("two", [RetryAfter(5), Fatal()]), "read#1").retryable


def test_a_subclass_that_keeps_nothing_is_an_error_like_others() -> None:
    class Careless(RetryAfter):
        def __init__(self) -> None:
            Exception.__init__(self, "careless")

    assert failed_attempt(Careless(), "read#1").retry_after is None


@pytest.mark.parametrize("wait", [-1, math.nan, 1e12])
def test_a_wait_that_cannot_be_is_refused_where_it_is_said(wait: float) -> None:
    with pytest.raises(ValueError, match="RetryAfter="):
        RetryAfter(wait)


def test_an_option_that_is_none_is_refused_where_it_is_said() -> None:
    with pytest.raises(ValueError, match="on_exhausted='stop': one of fail, park"):
        Retry(on_exhausted="stop")  # type: ignore[arg-type]  # the mistake itself


def test_effects_have_a_parking_of_their_own() -> None:
    async def pay_somehow(*, key: str = GIVEN) -> None: ...

    with pytest.raises(ValueError, match="on_exhausted='park' is for steps"):
        effect(guard="at_most_once", retry=Retry(on_exhausted="park"))(pay_somehow)


async def test_outside_of_a_workflow_they_are_ordinary_errors() -> None:
    @step
    async def fetch_rate() -> int:
        raise RetryAfter(60)

    with pytest.raises(RetryAfter, match="to be tried again after 60 s"):
        await fetch_rate()
