"""What is said of effects between worker, ledger and run: no word is taken for another, or answered with an old one."""

import pytest

from holdfast.app.deduplication import is_final, key_of
from holdfast.app.orchestrator.parking import park
from holdfast.app.orchestrator.record_reader import as_command
from holdfast.core import events as e
from holdfast.core.commands import ExecuteStep, HearLedger, StepResult
from holdfast.core.payload import NOTHING
from holdfast.core.retry import Failure
from tests.unit.given import given, payload, started
from tests.unit.test_effect_steps import charged

UNKNOWN = Failure("UnknownStep", "no effect 'charge' on this worker")


def task(attempt: int, *, guard: str | None = "provider_key") -> ExecuteStep:
    return ExecuteStep(
        run_id="r", incarnation=0, step_id="charge#1", attempt=attempt, name="charge", kind="effect", queue="default",
        input=NOTHING, timeout=1.0, guard=guard, key=None if guard is None else "k" * 32,
    )  # fmt: skip


def result(state: str = "", error: Failure | None = None) -> StepResult:
    return StepResult(run_id="r", incarnation=0, step_id="charge#1", attempt=1, error=error, ledger=state)


def test_a_worker_that_does_not_know_an_effect_answers_no_later_attempt_of_it() -> None:
    assert key_of(task(1)) == key_of(task(2))
    assert not is_final(key_of(task(1)), result(error=UNKNOWN))


@pytest.mark.parametrize("state", ["SUCCEEDED", "FAILED", "CANCELLED", "IN_DOUBT", "PARKED", "PLANNED"])
def test_duplicates_of_an_effect_are_answered_once_it_is_settled(state: str) -> None:
    assert is_final(key_of(task(1)), result(state)) == (state in {"SUCCEEDED", "FAILED", "CANCELLED"})


def test_duplicates_of_an_attempt_of_a_step_are_answered_whatever_came_of_it() -> None:
    assert key_of(task(1, guard=None)) != key_of(task(2, guard=None))
    assert is_final(key_of(task(1, guard=None)), result(error=UNKNOWN))


def test_an_effect_that_a_person_declared_failed_without_a_word_is_not_taken_for_a_success() -> None:
    assert as_command(result("FAILED")) == HearLedger(step_id="charge#1", state="FAILED", attempt=1)


def test_an_error_of_the_engine_does_not_lose_the_ledgers_word() -> None:
    run = given(started(), charged()).state()
    word = HearLedger(step_id="charge#1", state="SUCCEEDED", result=payload("7"))
    happened = park(run, word, RuntimeError("ours")).events
    assert [type(event) for event in happened] == [e.StepCompleted, e.RunParked]
