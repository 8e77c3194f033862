"""What may happen to a run, and what follows: each rule of core/run.py as given, when, then."""

import pytest
from msgspec.structs import replace

from holdfast.core import events as e
from holdfast.core.commands import (
    AbandonStep,
    AttemptStep,
    CancelRun,
    CancelTimer,
    Command,
    CompleteRun,
    CompleteStep,
    ConcludeCancel,
    FailRun,
    FailStep,
    FireTimer,
    ParkRun,
    RefuseSignal,
    ResumeRun,
    SignalRun,
    StartRun,
    StartTimer,
    TerminateRun,
)
from holdfast.core.retry import Failure, RetrySchedule
from holdfast.core.run import (
    CANCELLED,
    COMPLETED,
    CONTINUED,
    FAILED,
    PARKED,
    RUNNING,
    STATUSES,
    TERMINATED,
    Run,
    decide,
)
from tests.unit.given import (
    NOON,
    RUN_ID,
    SECOND,
    TIMEOUT,
    asked,
    attempted,
    completed,
    ended,
    fold,
    given,
    parked,
    payload,
    retried,
    scheduled,
    started,
)

OUTCOMES = (
    ended(),
    e.RunFailed(error=TIMEOUT),
    e.RunCancelled(),
    e.RunTerminated(reason="fraud"),
)
CHILD = e.ChildScheduled(
    step_id="ship#1", workflow="ship", version="1", run_id="c",
    input=payload("1"), input_hash=b"", parent_close="cancel",
)  # fmt: skip
REQUESTS_OF_PEOPLE = (CancelRun(), TerminateRun(reason="x"), ResumeRun(by="me"))


def start(workflow: str = "order", data: str = "1") -> StartRun:
    return StartRun(workflow=workflow, version="1", input=payload(data))


# ------------------------------------------------------------ the start


def test_a_start_begins_a_run() -> None:
    run = given().when(start()).then(started())
    assert (run.status, run.workflow, run.version, run.seq) == (RUNNING, "order", "1", 1)


def test_attributes_of_a_start_are_recorded() -> None:
    command = StartRun(workflow="order", version="2", input=payload("1"), attributes={"shop": "Bern"})
    run = (
        given()
        .when(command)
        .then(e.RunStarted(workflow="order", version="2", input=payload("1"), attributes={"shop": "Bern"}))
    )
    assert run.attributes == {"shop": "Bern"}


@pytest.mark.parametrize("past", [(), (scheduled(),), (parked(),), (ended(),)])
def test_the_same_start_again_changes_nothing(past: tuple[e.Event, ...]) -> None:
    given(started(), *past).when(start()).then_nothing()


def test_white_space_and_the_order_of_keys_do_not_make_another_input() -> None:
    given(started(data='{"a":1,"b":[2]}')).when(start(data='{ "b": [2], "a": 1 }')).then_nothing()


@pytest.mark.parametrize("other", [start(data="2"), start(workflow="return")])
@pytest.mark.parametrize("past", [(), (parked(),), (ended(),)])
def test_another_start_under_the_same_id_is_refused(past: tuple[e.Event, ...], other: StartRun) -> None:
    given(started(), *past).when(other).then_refused("run_exists_differs")


# ------------------------------------------------------------ steps' calls


def test_a_call_of_a_step_is_recorded_with_its_deadline() -> None:
    run = given(started()).when(asked(total_timeout=30)).then(scheduled(deadline=NOON + 30 * SECOND))
    assert run.open_steps["read#1"].attempt == 1


def test_the_code_may_let_go_of_an_open_step_once() -> None:
    given(started(), scheduled()).when(AbandonStep(step_id="read#1")).then(e.StepAbandoned(step_id="read#1"))
    given(started(), scheduled(), completed()).when(AbandonStep(step_id="read#1")).then_nothing()


# ------------------------------------------------------------ steps' results


def complete(step_id: str = "read#1", attempt: int = 1) -> CompleteStep:
    return CompleteStep(step_id=step_id, attempt=attempt, result=payload("2"))


def fail(attempt: int = 1, error: Failure = TIMEOUT, at: int = NOON) -> FailStep:
    return FailStep(step_id="read#1", attempt=attempt, error=error, at=at)


def test_a_success_settles_a_step() -> None:
    run = given(started(), scheduled()).when(complete()).then(completed())
    assert run.open_steps == {}
    assert run.knows("read#1")


def test_a_success_of_an_earlier_attempt_settles_the_step() -> None:
    given(started(), scheduled(), retried(), attempted()).when(complete(attempt=1)).then(completed(attempt=1))


def test_a_success_settles_a_step_that_waits_for_its_next_attempt() -> None:
    run = given(started(), scheduled(), retried()).when(complete(attempt=1)).then(completed(attempt=1))
    assert run.open_steps == {}


@pytest.mark.parametrize("late", [complete(), complete(attempt=2), fail()])
@pytest.mark.parametrize(
    "settled",
    [completed(), e.StepFailed(step_id="read#1", attempt=1, error=TIMEOUT), e.StepAbandoned(step_id="read#1")],
)
def test_a_late_result_of_a_settled_step_writes_nothing(settled: e.Event, late: Command) -> None:
    given(started(), scheduled(), settled).when(late).then_nothing()


@pytest.mark.parametrize("outcome_", OUTCOMES)
@pytest.mark.parametrize("late", [complete(), fail(), complete("never#7")])
def test_a_result_for_a_run_that_ended_writes_nothing(outcome_: e.Event, late: Command) -> None:
    given(started(), scheduled(), outcome_).when(late).then_nothing()


@pytest.mark.parametrize("step_id", ["read#2", "grind#1", "left", "read#", "#1", "read#x"])
def test_a_result_of_a_step_never_scheduled_is_a_dead_letter(step_id: str) -> None:
    result = CompleteStep(step_id=step_id, attempt=1, result=payload("2"))
    given(started(), scheduled()).when(result).then_refused("step_never_scheduled")
    failure = FailStep(step_id=step_id, attempt=1, error=TIMEOUT, at=NOON)
    given(started(), scheduled()).when(failure).then_refused("step_never_scheduled")


def test_a_result_for_a_run_that_nobody_started_is_a_dead_letter() -> None:
    given().when(complete()).then_refused("step_never_scheduled")


def test_an_explicit_id_is_known_after_it_is_settled() -> None:
    past = (started(), scheduled("left", name="reserve"), completed("left"))
    given(*past).when(complete("left")).then_nothing()


def test_explicit_ids_and_numbers_do_not_disturb_each_other() -> None:
    run = given(started(), scheduled("left"), scheduled("read#1"), completed("read#1"), scheduled("read#2")).state()
    assert run.counters == {"read": 2}
    assert set(run.explicit_ids) == {"left"}
    assert set(run.open_steps) == {"left", "read#2"}


def test_settled_steps_leave_nothing_but_their_count() -> None:
    past: list[e.Event] = [started()]
    for number in range(1, 51):
        past += [scheduled(f"read#{number}"), completed(f"read#{number}")]
    run = given(*past).state()
    assert (run.open_steps, run.counters, run.explicit_ids) == ({}, {"read": 50}, {})


# ------------------------------------------------------------ retries


def test_a_failure_is_tried_again_by_the_recorded_schedule() -> None:
    schedule = RetrySchedule(attempts=3, initial=2.0, backoff=3.0, jitter=0.0)
    past = (started(), scheduled(retry=schedule))
    given(*past).when(fail()).then(retried(due_at=NOON + 2 * SECOND))
    run = given(*past, retried(), attempted()).when(fail(attempt=2)).then(retried(attempt=3, due_at=NOON + 6 * SECOND))
    assert run.open_steps["read#1"].due_at == NOON + 6 * SECOND


def test_the_last_attempts_failure_settles_the_step() -> None:
    past = (started(), scheduled(retry=RetrySchedule(attempts=2)), retried(), attempted())
    given(*past).when(fail(attempt=2)).then(e.StepFailed(step_id="read#1", attempt=2, error=TIMEOUT))


def test_a_failure_of_an_earlier_attempt_changes_nothing() -> None:
    given(started(), scheduled(), retried(), attempted()).when(fail(attempt=1)).then_nothing()


def test_the_same_failure_again_changes_nothing() -> None:
    given(started(), scheduled(), retried()).when(fail(attempt=1)).then_nothing()


def test_a_failure_of_an_attempt_that_was_not_sent_yet_changes_nothing() -> None:
    given(started(), scheduled(), retried()).when(fail(attempt=2)).then_nothing()


@pytest.mark.parametrize("name", ["TimeoutError", "builtins.TimeoutError", "builtins.OSError"])
def test_an_error_that_is_never_tried_again_settles_at_once(name: str) -> None:
    past = (started(), scheduled(retry=RetrySchedule(never_on=(name,))))
    given(*past).when(fail()).then(e.StepFailed(step_id="read#1", attempt=1, error=TIMEOUT))


def test_past_the_total_time_there_is_no_further_attempt() -> None:
    past = (started(), scheduled(retry=RetrySchedule(initial=5.0, jitter=0.0), deadline=NOON + 4 * SECOND))
    given(*past).when(fail()).then(e.StepFailed(step_id="read#1", attempt=1, error=TIMEOUT))


def test_when_the_wait_is_over_the_attempt_goes_out() -> None:
    run = given(started(), scheduled(), retried()).when(AttemptStep(step_id="read#1", attempt=2)).then(attempted())
    assert (run.open_steps["read#1"].attempt, run.open_steps["read#1"].due_at) == (2, None)


@pytest.mark.parametrize(
    "past",
    [
        (),
        (scheduled(),),
        (scheduled(), retried(), attempted()),
        (scheduled(), retried(), completed()),
        (scheduled(), retried(), attempted(), retried(attempt=3)),
        (scheduled(), retried(), ended()),
    ],
)
def test_an_attempt_that_is_not_waited_for_does_not_go_out(past: tuple[e.Event, ...]) -> None:
    given(started(), *past).when(AttemptStep(step_id="read#1", attempt=2)).then_nothing()


# ------------------------------------------------------------ timers


def test_a_timer_is_started_fires_once_and_is_forgotten() -> None:
    due = e.TimerStarted(timer_id="timer#1", due_at=NOON)
    fired = e.TimerFired(timer_id="timer#1")
    assert given(started()).when(StartTimer(timer_id="timer#1", due_at=NOON)).then(due).timers == {"timer#1": NOON}
    assert given(started(), due).when(FireTimer(timer_id="timer#1")).then(fired).timers == {}
    given(started(), due, fired).when(FireTimer(timer_id="timer#1")).then_nothing()


def test_a_cancelled_timer_does_not_fire() -> None:
    due = e.TimerStarted(timer_id="timer#1", due_at=NOON)
    cancelled = e.TimerCancelled(timer_id="timer#1")
    given(started(), due).when(CancelTimer(timer_id="timer#1")).then(cancelled)
    given(started(), due, cancelled).when(FireTimer(timer_id="timer#1")).then_nothing()
    given(started(), due, cancelled).when(CancelTimer(timer_id="timer#1")).then_nothing()


def test_a_timer_of_a_run_that_ended_or_never_was_does_not_fire() -> None:
    due = e.TimerStarted(timer_id="timer#1", due_at=NOON)
    given(started(), due, ended()).when(FireTimer(timer_id="timer#1")).then_nothing()
    given().when(FireTimer(timer_id="timer#1")).then_nothing()


# ------------------------------------------------------------ signals


def signal(*, seen: bool = False) -> SignalRun:
    return SignalRun(name="shipped", message_id="m1", input=payload('"DHL"'), seen=seen)


def test_a_signal_that_the_code_cannot_take_is_recorded_as_refused() -> None:
    refusal = RefuseSignal(message_id="m1", name="shipped", input=payload("5"), detail="a text is wanted")
    refused = e.SignalRefused(message_id="m1", name="shipped", input=payload("5"), detail="a text is wanted")
    run = given(started()).when(refusal).then(refused)
    assert (run.status, run.seq) == ("RUNNING", 2)


def test_a_signal_is_recorded() -> None:
    recorded = e.SignalReceived(message_id="m1", name="shipped", input=payload('"DHL"'))
    given(started()).when(signal()).then(recorded)


@pytest.mark.parametrize("past", [(started(),), (started(), parked()), (started(), ended())])
def test_a_signal_seen_before_writes_nothing(past: tuple[e.Event, ...]) -> None:
    given(*past).when(signal(seen=True)).then_nothing()


@pytest.mark.parametrize("outcome_", OUTCOMES)
def test_a_signal_for_a_run_that_ended_is_a_dead_letter(outcome_: e.Event) -> None:
    given(started(), outcome_).when(signal()).then_refused("run_ended")


# ------------------------------------------------------------ parking


def park() -> ParkRun:
    return ParkRun(reason="nondeterminism", detail="why")


def test_a_run_is_parked_with_its_reason_and_resumed() -> None:
    run = given(started()).when(park()).then(parked())
    assert (run.status, run.parked) == (PARKED, parked())
    run = given(started(), parked()).when(ResumeRun(by="ada")).then(e.RunResumed(by="ada"))
    assert (run.status, run.parked) == (RUNNING, None)


@pytest.mark.parametrize("past", [(parked(),), *((end,) for end in OUTCOMES)])
def test_a_run_that_stands_still_is_not_parked_again(past: tuple[e.Event, ...]) -> None:
    given(started(), *past).when(park()).then_nothing()


def test_a_run_that_nobody_started_cannot_be_parked() -> None:
    given().when(park()).then_nothing()


@pytest.mark.parametrize("past", [(), *((end,) for end in OUTCOMES)])
def test_resuming_a_run_that_is_not_parked_changes_nothing(past: tuple[e.Event, ...]) -> None:
    given(started(), *past).when(ResumeRun()).then_nothing()


def test_a_parked_run_records_what_comes_in() -> None:
    past = (started(), scheduled(), parked())
    given(*past).when(complete()).then(completed())
    given(*past).when(signal()).then(e.SignalReceived(message_id="m1", name="shipped", input=payload('"DHL"')))
    given(*past).when(CancelRun(reason="late")).then(e.CancelRequested(reason="late"))
    given(*past).when(fail()).then(retried(due_at=NOON + SECOND // 10))


def test_the_waits_of_a_parked_run_wait() -> None:
    past = (started(), scheduled(), retried(), e.TimerStarted(timer_id="timer#1", due_at=NOON), parked())
    given(*past).when(FireTimer(timer_id="timer#1")).then_nothing()
    given(*past).when(AttemptStep(step_id="read#1", attempt=2)).then_nothing()
    resumed = (*past, e.RunResumed())
    given(*resumed).when(FireTimer(timer_id="timer#1")).then(e.TimerFired(timer_id="timer#1"))
    given(*resumed).when(AttemptStep(step_id="read#1", attempt=2)).then(attempted())


# ------------------------------------------------------------ the end


def test_a_cancellation_is_asked_for_once() -> None:
    asked_for = e.CancelRequested(reason="late")
    assert given(started()).when(CancelRun(reason="late")).then(asked_for).cancelling
    given(started(), asked_for).when(CancelRun(reason="again")).then_nothing()


def test_a_request_to_cancel_counts_once_for_its_message_id() -> None:
    asked_for = e.CancelRequested(reason="late", message_id="m1")
    run = given(started()).when(CancelRun(reason="late", message_id="m1")).then(asked_for)
    swallowed = replace(run, cancelling=False)
    assert decide(swallowed, CancelRun(message_id="m1")) == ()
    assert decide(swallowed, CancelRun(message_id="m2")) == (e.CancelRequested(message_id="m2"),)


@pytest.mark.parametrize("past", [(), (parked(),), (e.CancelRequested(),)])
def test_a_run_is_terminated_whatever_it_does(past: tuple[e.Event, ...]) -> None:
    run = given(started(), scheduled(), *past).when(TerminateRun(reason="x")).then(e.RunTerminated(reason="x"))
    assert (run.status, run.open_steps, run.timers, run.parked) == (TERMINATED, {}, {}, None)


@pytest.mark.parametrize("outcome_", OUTCOMES)
@pytest.mark.parametrize("request_", REQUESTS_OF_PEOPLE)
def test_a_run_that_ended_is_left_alone(outcome_: e.Event, request_: Command) -> None:
    given(started(), outcome_).when(request_).then_nothing()


@pytest.mark.parametrize("request_", REQUESTS_OF_PEOPLE)
def test_a_request_about_a_run_that_nobody_started_is_a_dead_letter(request_: Command) -> None:
    given().when(request_).then_refused("run_unknown")


@pytest.mark.parametrize(
    ("request_", "event", "status"),
    [
        (CompleteRun(result=payload("9")), ended(), COMPLETED),
        (FailRun(error=TIMEOUT), e.RunFailed(error=TIMEOUT), FAILED),
        (ConcludeCancel(), e.RunCancelled(), CANCELLED),
    ],
)
def test_the_codes_end_is_the_runs_end(request_: Command, event: e.Event, status: str) -> None:
    past = (started(), scheduled(), e.TimerStarted(timer_id="timer#1", due_at=NOON))
    run = given(*past).when(request_).then(event)
    assert (run.status, run.open_steps, run.timers) == (status, {}, {})
    assert run.ended


# ------------------------------------------------------------ folding


@pytest.mark.parametrize("kind", list(e.TYPES.values()), ids=list(e.TYPES))
def test_every_event_counts(kind: type[e.Event]) -> None:
    examples = {type(event): event for event in EXAMPLES}
    before = given(started(), scheduled(), retried(), CHILD).state()
    after = fold(before, examples[kind])
    assert after.seq == before.seq + 1
    assert after.status in {*STATUSES, CONTINUED}


EXAMPLES: tuple[e.Event, ...] = (
    started(), scheduled("read#2"), retried(), attempted(), completed(),
    e.StepFailed(step_id="read#1", attempt=1, error=TIMEOUT), e.StepAbandoned(step_id="read#1"),
    e.TimerStarted(timer_id="timer#1", due_at=NOON), e.TimerFired(timer_id="timer#1"),
    e.TimerCancelled(timer_id="timer#1"), e.SignalReceived(message_id="m", name="n", input=payload("1")),
    e.SignalRefused(message_id="m", name="n", input=payload("1")),
    e.CancelRequested(), parked(), e.RunResumed(), *OUTCOMES, e.RunContinued(input=payload("2")),
    e.StepWithdrawn(step_id="read#1"), e.StepExhausted(step_id="read#1", attempt=1, error=TIMEOUT),
    e.StepCancelled(step_id="read#1"), e.StepParked(step_id="read#1", reason="unclear"),
    e.ResolutionRequested(step_id="read#1", version=4, verdict="retry", by="ada", reason="looked"),
    replace(CHILD, step_id="ship#2"), e.ChildStarted(step_id="ship#1"), e.ChildCancelled(step_id="ship#1"),
    e.ChildCompleted(step_id="ship#1", result=payload("1")), e.ChildFailed(step_id="ship#1", error=TIMEOUT),
    e.ChildTerminated(step_id="ship#1"), e.ChildCancelRequested(step_id="ship#1"),
    e.TurnCut(requests=512), e.TurnEnded(requests=3),
)  # fmt: skip


def test_a_run_that_nobody_started_does_not_exist() -> None:
    run = Run(RUN_ID)
    assert not run.exists
    assert not run.ended
