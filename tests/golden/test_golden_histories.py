"""What earlier releases have recorded is replayed by this one, for ever."""

from collections.abc import Callable

import pytest

from holdfast.adapters.avro import AvroCodec
from holdfast.app.orchestrator.programs import find_workflow
from holdfast.core import events as e
from holdfast.core.payload import Payload
from holdfast.core.react import react
from holdfast.core.replay import REQUESTED, ProgramStuck, Rebuilt
from holdfast.core.run import PARKED, Run, evolve
from holdfast.core.settling import PERSON
from holdfast.sdk.program import LiveProgram
from tests.golden import files
from tests.golden.files import Golden, GoldenRun
from tests.golden.telling import told

STORIES = told()
RECORDED = files.names()


def codec() -> AvroCodec:
    """The codec of today, in an installation where those releases have run."""
    made = AvroCodec()
    made.learn(files.schemas())
    return made


CODEC = codec()


def history_of(run: GoldenRun) -> list[e.Recorded]:
    return [e.Recorded(one.seq, one.at, CODEC.decode_event(one.type, one.data)) for one in run.history]


def blobs_of(golden: Golden) -> Callable[[Payload], bytes]:
    return lambda payload: payload.data if payload.blob is None else golden.blobs[payload.blob]


def replayed(golden: Golden, run: GoldenRun, history: list[e.Recorded]) -> Run:
    # As the tests of the engine name their namespace, in whose engine it was recorded.
    program = LiveProgram(find_workflow, blobs_of(golden), "pipe", run.run_id, run.incarnation)
    rebuilt = Rebuilt(Run(run.run_id, run.incarnation))
    try:
        return rebuilt.replay(history, program)
    finally:
        program.evict()


def before_its_end(history: list[e.Recorded]) -> list[e.Recorded]:
    """What is replayed of a run that a person has ended: the code never heard of that."""
    ends = (n for n, one in enumerate(history) if isinstance(one.event, e.RunTerminated))
    return history[: next(ends, len(history))]


def waits_for_a_person(event: e.Event) -> bool:
    """Tell whether the code's request has one more event: the step is parked as soon as it is asked for."""
    return isinstance(event, e.StepScheduled) and event.kind == PERSON


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_history_is_replayed(name: str) -> None:
    golden = files.read(name)
    for run in golden.runs:
        history = history_of(run)
        state = Run(run.run_id, run.incarnation)
        for one in history:
            react(state, one.event)
            state = evolve(state, one.event)
        status = state.status if state.stands is None else PARKED
        assert (status, state.workflow, state.seq) == (run.status, run.workflow, len(history))
        if any(isinstance(one.event, e.RunParked) and one.event.reason == "unknown_workflow" for one in history):
            with pytest.raises(ProgramStuck, match=run.workflow):
                find_workflow(run.workflow, run.version)
            continue
        replayed(golden, run, before_its_end(history))


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_history_can_be_taken_up_at_the_end_of_every_turn(name: str) -> None:
    golden = files.read(name)
    for run in golden.runs:
        history = before_its_end(history_of(run))
        for at in range(1, len(history)):
            if isinstance(history[at].event, (*REQUESTED, e.RunParked)) or waits_for_a_person(history[at - 1].event):
                continue
            if run.workflow in {one.event.workflow for one in history if isinstance(one.event, e.RunStarted)}:
                assert replayed(golden, run, history[:at]).seq == at


def test_every_story_is_recorded_and_every_history_has_its_story() -> None:
    assert list(STORIES) == RECORDED, "python -m tests.golden record"


def test_every_type_of_event_is_in_a_history() -> None:
    """A new type: tell a story in which it happens (README.md of this folder), and record it."""
    met = {one.type for name in RECORDED for run in files.read(name).runs for one in run.history}
    assert set(e.TYPES) - met == set()


def test_histories_are_small() -> None:
    assert {name for name in RECORDED if files.path_of(name).stat().st_size > 64 * 1024} == set()
