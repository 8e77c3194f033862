"""What show and history tell of a run, from its history alone."""

from typing import Any

import msgspec
import pytest

from holdfast.adapters.avro import AvroCodec
from holdfast.core import events as e
from holdfast.core.payload import Payload
from holdfast.core.retry import Failure, RetrySchedule
from holdfast.core.run import RUNNING, Run, evolve
from holdfast.ports.journal import RunRow, StoredEvent, StoredRun
from holdfast.views import describe, large_result, listed, state_of, told, what_next, why

AT = 1_795_435_200_000_000  # 2026-11-23T12:00:00Z
CODEC = AvroCodec()
BOOM = Failure("Boom", "no paper", step="print#1")


def payload(value: object) -> Payload:
    return Payload(data=msgspec.json.encode(value))


def started() -> e.RunStarted:
    return e.RunStarted(workflow="tea", version="2", input=payload("Ada"), attributes={"shop": "left"})


def scheduled(step_id: str = "print#1") -> e.StepScheduled:
    return e.StepScheduled(
        step_id=step_id,
        name=step_id.partition("#")[0],
        kind="step",
        input=payload(None),
        input_hash=b"\x01\x02",
        queue="default",
        retry=RetrySchedule(),
        timeout=600.0,
    )


def stored(*events: e.Event) -> StoredRun:
    run = Run("order-1")
    for event in events:
        run = evolve(run, event)
    row = RunRow(
        run_id="order-1",
        incarnation=0,
        shard=7,
        workflow="tea",
        version="2",
        status=run.status,
        attributes=run.attributes,
        started_at=AT,
        ended_at=AT + len(events) if run.ended else None,
        parked=None if run.parked is None else run.parked.reason,
    )
    history = tuple(
        StoredEvent("order-1", 0, seq, type(event).__name__, CODEC.encode_event(event), AT + seq)
        for seq, event in enumerate(events, 1)
    )
    return StoredRun(row, history)


def view(*events: e.Event) -> dict[str, Any]:
    return describe(stored(*events), CODEC)


def the_step(*events: e.Event) -> dict[str, Any]:
    (step,) = view(started(), scheduled(), *events)["steps"]
    assert isinstance(step, dict)
    return step


def test_a_completed_run_is_told_whole() -> None:
    told_of = view(
        started(),
        scheduled(),
        e.StepCompleted(step_id="print#1", attempt=1, result=payload(None)),
        e.RunCompleted(result=payload({"paper": 1})),
    )

    assert told_of == {
        "run_id": "order-1",
        "incarnation": 0,
        "workflow": "tea",
        "version": "2",
        "status": "COMPLETED",
        "result": {"paper": 1},
        "error": None,
        "attributes": {"shop": "left"},
        "started_at": "2026-11-23T12:00:00+00:00",
        "ended_at": "2026-11-23T12:00:00.000004+00:00",
        "shard": 7,
        "steps": [{"id": "print#1", "name": "print", "state": "COMPLETED", "attempts": 1, "error": None}],
        "children": [],
        "parent": None,
        "parked": None,
    }


def test_a_run_whose_attempt_is_open_is_running_and_one_that_only_waits_is_suspended() -> None:
    retried = e.StepRetried(step_id="print#1", attempt=2, due_at=AT + 9, error=BOOM)

    assert view(started(), scheduled())["status"] == RUNNING
    assert view(started(), e.TimerStarted(timer_id="timer#1", due_at=AT + 9))["status"] == "SUSPENDED"
    assert view(started(), scheduled(), retried)["status"] == "SUSPENDED"
    assert view(started(), scheduled("a#1"), scheduled(), retried)["status"] == RUNNING


def test_a_step_that_waits_for_its_next_attempt_is_retrying_with_its_last_error() -> None:
    step = the_step(e.StepRetried(step_id="print#1", attempt=2, due_at=AT + 9, error=BOOM))

    assert (step["state"], step["attempts"]) == ("RETRYING", 1)
    assert step["error"] == {"type": "Boom", "message": "no paper", "step": "print#1"}


def test_a_step_that_succeeds_at_last_has_its_attempts_and_no_error() -> None:
    step = the_step(
        e.StepRetried(step_id="print#1", attempt=2, due_at=AT + 9, error=BOOM),
        e.StepAttempted(step_id="print#1", attempt=2),
        e.StepCompleted(step_id="print#1", attempt=2, result=payload(1)),
    )

    assert step == {"id": "print#1", "name": "print", "state": "COMPLETED", "attempts": 2, "error": None}


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (e.StepFailed(step_id="print#1", attempt=1, error=BOOM), "FAILED"),
        (e.StepAbandoned(step_id="print#1"), "ABANDONED"),
        (e.RunTerminated(reason="twice"), "ABANDONED"),
    ],
)
def test_a_step_ends_failed_or_abandoned(event: e.Event, state: str) -> None:
    assert the_step(event)["state"] == state


def test_a_parked_run_says_why_and_is_no_longer_parked_when_it_goes_on() -> None:
    parked = e.RunParked(reason="unknown_workflow", detail="there is no workflow 'tea'")

    assert view(started(), parked)["status"] == "PARKED"
    assert view(started(), parked)["parked"] == "unknown_workflow: there is no workflow 'tea'"
    assert view(started(), parked, e.RunResumed(by="ada"))["parked"] is None
    assert listed(stored(started(), parked).row)["parked"] == "unknown_workflow"


def test_a_run_that_waits_for_nothing_but_a_verdict_is_parked_and_says_by_what() -> None:
    effect = msgspec.structs.replace(scheduled("charge#1"), guard="at_most_once", key="k" * 32)
    parked = e.StepParked(step_id="charge#1", reason="no answer")
    exhausted = e.StepExhausted(step_id="charge#1", attempt=1, error=BOOM)

    alone = view(started(), effect, exhausted, parked)
    assert (alone["status"], alone["parked"]) == ("PARKED", "effect_parked: charge#1: no answer")
    assert (alone["steps"][0]["state"], alone["steps"][0]["error"]["type"]) == ("PARKED", "Boom")
    assert why(stored(started(), effect, parked), CODEC) == "is parked: effect_parked: charge#1: no answer"

    beside = view(started(), effect, scheduled(), parked)
    assert (beside["status"], beside["parked"]) == (RUNNING, None)
    assert view(started(), effect, parked, e.StepCancelled(step_id="charge#1"))["steps"][0]["state"] == "CANCELLED"


def test_what_can_be_done_about_a_parked_run_depends_on_what_it_stands_by() -> None:
    effect = msgspec.structs.replace(scheduled("charge#1"), guard="at_most_once", key="k" * 32)
    waits = stored(started(), effect, e.StepParked(step_id="charge#1", reason="no answer"))
    stuck = stored(started(), e.RunParked(reason="unknown_workflow"))

    (command,) = what_next(state_of(waits, CODEC))
    assert command.startswith("holdfast resolve order-1/charge#1 (--succeeded JSON | --failed REASON | --retry)")
    assert what_next(state_of(stuck, CODEC)) == ["holdfast resume order-1"]
    assert what_next(state_of(stored(started(), scheduled()), CODEC)) == []


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([e.RunFailed(error=BOOM)], "failed: Boom: no paper (step print#1)"),
        ([e.RunTerminated(reason="twice")], "was terminated: twice"),
        ([e.CancelRequested(reason="too late"), e.RunCancelled()], "was cancelled: too late"),
        ([e.RunParked(reason="stuck", detail="no code")], "is parked: stuck: no code"),
    ],
)
def test_why_a_run_did_not_complete_is_one_sentence(events: list[e.Event], said: str) -> None:
    assert why(stored(started(), *events), CODEC) == said


def test_a_failed_run_tells_its_error() -> None:
    assert view(started(), e.RunFailed(error=BOOM))["error"] == {
        "type": "Boom",
        "message": "no paper",
        "step": "print#1",
    }


def test_a_large_result_is_told_whole_when_its_bytes_are_at_hand_and_else_named() -> None:
    run = stored(started(), e.RunCompleted(result=Payload(data=b"", blob="ab")))

    assert large_result(run, CODEC) == "ab"
    assert describe(run, CODEC, {"ab": b"[1]"})["result"] == [1]
    named = describe(run, CODEC)["result"]
    assert isinstance(named, dict)
    assert named["blob"] == "ab"


def test_an_event_is_told_with_plain_values_and_iso_times() -> None:
    run = stored(started(), scheduled(), e.TimerStarted(timer_id="timer#1", due_at=AT + 500_000))
    events = [told(one, CODEC) for one in run.history]

    assert events[0]["data"] == {
        "workflow": "tea",
        "version": "2",
        "input": "Ada",
        "attributes": {"shop": "left"},
        "parent": None,
        "origin": None,
        "cancels": (),
    }
    assert events[2] == {
        "seq": 3,
        "type": "TimerStarted",
        "at": "2026-11-23T12:00:00.000003+00:00",
        "data": {"timer_id": "timer#1", "due_at": "2026-11-23T12:00:00.500000+00:00"},
    }
    assert msgspec.json.encode(events)
