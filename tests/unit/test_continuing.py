"""Going on as new: what closes an incarnation, what goes along, and what the next one is."""

import pytest
from msgspec.structs import replace

from holdfast.core import events as e
from holdfast.core.commands import CancelRun, CompleteStep, ContinueRun, SignalRun, StartRun
from holdfast.core.continuing import next_start
from holdfast.core.messages import ClearTimer, CloseAttempt, TakeSignal
from holdfast.core.parent import Parent
from holdfast.core.payload import Payload
from holdfast.core.react import react
from holdfast.core.run import CONTINUED, RUNNING, DeadLetter, Run, decide, evolve
from tests.unit.given import RUN_ID, completed, given, payload, scheduled, started

AGAIN = ContinueRun(input=payload("2"))
CONTINUED_EVENT = e.RunContinued(input=payload("2"))


def effect(step_id: str = "charge#1") -> e.StepScheduled:
    return replace(scheduled(step_id), kind="effect", guard="at_most_once", key="k")


def called(step_id: str = "ship#1") -> e.ChildScheduled:
    return e.ChildScheduled(
        step_id=step_id,
        workflow="ship",
        version="1",
        run_id="parcel-7",
        input=payload("1"),
        input_hash=b"",
        parent_close="terminate",
    )


def folded(*past: e.Event, incarnation: int = 0) -> Run:
    run = Run(RUN_ID, incarnation)
    for event in past:
        run = evolve(run, event)
    return run


def next_of(*past: e.Event) -> Run:
    closed = folded(*past, CONTINUED_EVENT)
    return evolve(Run(RUN_ID, 1), next_start(closed, CONTINUED_EVENT, "2"))


def test_code_that_goes_on_as_new_closes_its_incarnation() -> None:
    given(started()).when(AGAIN).then(CONTINUED_EVENT)
    assert folded(started(), CONTINUED_EVENT).status == CONTINUED


def test_it_waits_for_the_verdict_of_its_effects() -> None:
    given(started(), effect()).when(AGAIN).then_nothing()
    given(started(), effect(), completed("charge#1")).when(AGAIN).then(CONTINUED_EVENT)


def test_it_waits_for_the_answers_of_its_children() -> None:
    given(started(), called()).when(AGAIN).then_nothing()
    given(started(), called(), e.ChildCompleted(step_id="ship#1", result=payload("1"))).when(AGAIN).then(
        CONTINUED_EVENT
    )


def test_open_steps_and_timers_are_given_up() -> None:
    run = folded(started(), scheduled("read#1"), e.TimerStarted(timer_id="timer#1", due_at=5))
    assert react(run, CONTINUED_EVENT) == (CloseAttempt("read#1"), ClearTimer("timer#1"))
    given(started(), scheduled("read#1"), CONTINUED_EVENT).when(
        CompleteStep(step_id="read#1", attempt=1, result=payload("1"))
    ).then_nothing()


def test_no_outcome_and_no_word_to_the_parent_is_told_of_a_closed_incarnation() -> None:
    parent = Parent("order-1", 0, "ship#1")
    run = folded(e.RunStarted(workflow="w", version="1", input=payload("1"), parent=parent))
    assert react(run, CONTINUED_EVENT) == ()


def test_the_next_incarnation_begins_anew_with_what_the_run_is() -> None:
    parent = Parent("order-1", 0, "ship#1")
    begun = e.RunStarted(workflow="w", version="1", input=payload("1"), attributes={"customer": "7"}, parent=parent)
    run = next_of(begun, scheduled("read#1"))
    assert (run.status, run.seq, run.incarnation, run.version) == (RUNNING, 1, 1, "2")
    assert (run.input, run.attributes, run.parent) == (payload("2"), {"customer": "7"}, parent)
    assert not run.open_steps
    assert not run.knows("read#1")


def test_the_first_start_said_again_changes_nothing_in_any_incarnation() -> None:
    run = next_of(started())
    first = folded(started())
    assert decide(run, StartRun(workflow=first.workflow, version="1", input=first.input)) == ()
    with pytest.raises(DeadLetter, match="another workflow or input"):
        decide(run, StartRun(workflow=first.workflow, version="1", input=payload("2")))


def test_a_cancellation_that_was_heard_before_is_not_heard_again() -> None:
    run = next_of(started(), e.CancelRequested(message_id="c1"))
    assert decide(run, CancelRun(message_id="c1")) == ()
    assert decide(run, CancelRun(message_id="c2")) != ()


def test_a_signal_that_goes_along_is_recorded_and_its_id_is_not_used_up_again() -> None:
    run = next_of(started())
    signal = SignalRun(name="note", message_id="m1", input=Payload(data=b"1"), carried=True)
    (event,) = decide(run, signal)
    assert react(run, event) == ()
    (fresh,) = decide(run, SignalRun(name="note", message_id="m2"))
    assert react(run, fresh) == (TakeSignal("m2"),)


def test_a_child_that_goes_on_as_new_does_not_say_again_that_it_has_started() -> None:
    parent = Parent("order-1", 0, "ship#1", detached=True)
    begun = e.RunStarted(workflow="w", version="1", input=payload("1"), parent=parent)
    assert react(Run(RUN_ID), begun) != ()
    assert react(Run(RUN_ID, 1), begun) == ()
