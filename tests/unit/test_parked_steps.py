"""A plain step of which workers die: parked by its worker's word, tried again when its run is resumed."""

from collections.abc import Sequence

from holdfast.core import events as e
from holdfast.core.commands import AbandonStep, CompleteStep, FailStep, HearLedger, Request, ResumeRun, TerminateRun
from holdfast.core.effects import PARKED
from holdfast.core.replay import Rebuilt
from holdfast.core.run import RUNNING, WORKER_DIED, Run
from tests.unit.given import (
    RUN_ID,
    TIMEOUT,
    asked,
    attempted,
    completed,
    given,
    parked,
    payload,
    retried,
    scheduled,
    started,
)

DIED = HearLedger(step_id="read#1", state=PARKED, attempt=1, reason="worker_died: SIGSEGV")
STEP_PARKED = e.StepParked(step_id="read#1", reason="worker_died: SIGSEGV")


def test_a_step_whose_worker_died_of_it_is_parked_and_its_run_stands() -> None:
    run = given(started(), scheduled()).when(DIED).then(STEP_PARKED)
    assert (run.status, run.stands) == (RUNNING, WORKER_DIED)


def test_a_run_in_which_something_else_can_move_does_not_stand() -> None:
    assert given(started(), scheduled(), scheduled("read#2"), STEP_PARKED).state().stands is None
    timer = e.TimerStarted(timer_id="timer#1", due_at=1)
    assert given(started(), scheduled(), timer, STEP_PARKED).state().stands is None


def test_a_resumed_run_tries_a_parked_step_again() -> None:
    run = given(started(), scheduled(), STEP_PARKED).when(ResumeRun(by="ada")).then(attempted(attempt=2))
    assert run.stands is None


def test_a_resumed_run_goes_on_itself_and_tries_its_steps_again() -> None:
    past = (started(), scheduled(), STEP_PARKED, parked())
    run = given(*past).when(ResumeRun(by="ada")).then(attempted(attempt=2), e.RunResumed(by="ada"))
    assert (run.status, run.stands) == (RUNNING, None)


def test_resuming_twice_tries_once() -> None:
    given(started(), scheduled(), STEP_PARKED, attempted(attempt=2)).when(ResumeRun(by="ada")).then_nothing()


def test_a_further_try_may_be_parked_again() -> None:
    past = (started(), scheduled(), STEP_PARKED, attempted(attempt=2))
    again = HearLedger(step_id="read#1", state=PARKED, attempt=2, reason="worker_died: exit code 1")
    given(*past).when(again).then(e.StepParked(step_id="read#1", reason="worker_died: exit code 1"))
    given(*past).when(DIED).then_nothing()  # the word of the earlier attempt


def test_a_parked_step_is_not_failed_by_what_comes_late_and_a_success_counts() -> None:
    past = (started(), scheduled(), STEP_PARKED)
    given(*past).when(FailStep(step_id="read#1", attempt=1, error=TIMEOUT)).then_nothing()
    run = given(*past).when(CompleteStep(step_id="read#1", attempt=1, result=payload("2"))).then(completed())
    assert not run.parked_steps


def test_a_step_that_waits_for_its_next_attempt_is_not_parked_by_the_last_one() -> None:
    given(started(), scheduled(), retried()).when(DIED).then_nothing()
    late = HearLedger(step_id="read#1", state=PARKED, attempt=2, reason="worker_died: SIGSEGV")
    given(started(), scheduled(), retried()).when(late).then_nothing()


def test_a_parked_step_can_be_abandoned_and_its_run_terminated() -> None:
    past = (started(), scheduled(), STEP_PARKED)
    run = given(*past).when(AbandonStep(step_id="read#1")).then(e.StepAbandoned(step_id="read#1"))
    assert not run.parked_steps
    given(*past).when(TerminateRun(reason="enough")).then(e.RunTerminated(reason="enough"))


class Reads:
    """Code that reads once, and waits for it."""

    replaying = False
    history_length = 0
    paused = False
    part = 1

    def apply(self, event: e.Event, at: int) -> Sequence[Request]:
        return [asked()] if isinstance(event, e.RunStarted) else []

    def go_on(self) -> Sequence[Request]:
        raise NotImplementedError

    def where(self, request: Request | None) -> str:
        return ""

    def is_cancelling(self) -> bool:
        return False


def test_a_history_with_a_parked_and_resumed_step_is_replayed() -> None:
    events: tuple[e.Event, ...] = (
        started(), scheduled(), STEP_PARKED, attempted(attempt=2), STEP_PARKED, parked(), attempted(attempt=3),
        e.RunResumed(by="ada"),
    )  # fmt: skip
    history = [e.Recorded(seq, 1, event) for seq, event in enumerate(events, 1)]
    rebuilt = Rebuilt(Run(RUN_ID))
    rebuilt.replay(history, Reads())
    assert (rebuilt.run.status, rebuilt.run.stands) == (RUNNING, None)
    assert rebuilt.run.open_steps["read#1"].attempt == 3
