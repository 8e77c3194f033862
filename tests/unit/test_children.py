"""Children: what a parent records and says, what a child answers, and what a second word changes."""

import pytest

from holdfast.core import events as e
from holdfast.core.children import remind
from holdfast.core.commands import CancelChild, CloseChild, HearChild, StartChild, StartRun
from holdfast.core.identity import RUN_ID_LIMIT, digest, run_id
from holdfast.core.messages import CloseAttempt, Message, Send
from holdfast.core.parent import ABANDON, CANCEL, TERMINATE, Parent, child_run_id
from holdfast.core.payload import Payload
from holdfast.core.react import answer, react
from holdfast.core.retry import Failure
from holdfast.core.run import CANCELLED, COMPLETED, FAILED, RUNNING, TERMINATED, Run, decide, evolve
from tests.unit.given import RUN_ID, TIMEOUT, ended, given, parked, payload, started

CHILD = "parcel-7"
STEP = "ship#1"
COMPLETED_CHILD = e.ChildCompleted(step_id=STEP, result=payload("2"))
WORDS = (
    COMPLETED_CHILD,
    e.ChildFailed(step_id=STEP, error=TIMEOUT),
    e.ChildCancelled(step_id=STEP),
    e.ChildTerminated(step_id=STEP, reason="fraud"),
)


def asked(*, close: str = TERMINATE, detached: bool = False) -> StartChild:
    return StartChild(
        step_id=STEP,
        workflow="ship",
        version="1",
        run_id=CHILD,
        input=payload("1"),
        input_hash=digest(b"1"),
        parent_close=close,
        detached=detached,
    )


def called(*, close: str = TERMINATE, detached: bool = False) -> e.ChildScheduled:
    return e.ChildScheduled(
        step_id=STEP,
        workflow="ship",
        version="1",
        run_id=CHILD,
        input=payload("1"),
        input_hash=digest(b"1"),
        parent_close=close,
        detached=detached,
    )


def place(*, close: str = TERMINATE, detached: bool = False) -> Parent:
    return Parent(RUN_ID, 0, STEP, detached, close)


def start(*, close: str = TERMINATE, detached: bool = False) -> StartRun:
    parent = place(close=close, detached=detached)
    return StartRun(workflow="ship", version="1", input=payload("1"), parent=parent)


def word(status: str, *, result: Payload | None = None, error: Failure | None = None, reason: str = "") -> HearChild:
    return HearChild(step_id=STEP, child=CHILD, status=status, result=result, error=error, reason=reason)


def child_of(parent: Parent, *past: e.Event) -> Run:
    begun = e.RunStarted(workflow="ship", version="1", input=payload("1"), parent=parent)
    run = Run(CHILD)
    for event in (begun, *past):
        run = evolve(run, event)
    return run


def sends(messages: tuple[Message, ...]) -> list[Send]:
    return [one for one in messages if isinstance(one, Send)]


# ------------------------------------------------------------ the parent


def test_a_call_of_a_workflow_is_recorded_with_all_that_starting_it_needs() -> None:
    run = given(started()).when(asked()).then(called())
    assert list(run.children) == [STEP]
    assert run.knows(STEP)


def test_a_called_child_is_started_by_a_command_named_by_its_cause() -> None:
    sent = Send(CHILD, start(), f"{RUN_ID}/0/2/0", awaits=STEP)
    given(started()).happens(called()).tells(sent)


@pytest.mark.parametrize(
    ("said", "event"),
    [
        (word(COMPLETED, result=payload("2")), WORDS[0]),
        (word(FAILED, error=TIMEOUT), WORDS[1]),
        (word(CANCELLED), WORDS[2]),
        (word(TERMINATED, reason="fraud"), WORDS[3]),
        (word(RUNNING), e.ChildStarted(step_id=STEP)),
    ],
)
@pytest.mark.parametrize("past", [(), (parked(),), (e.CancelRequested(),)])
def test_what_a_child_says_is_recorded(past: tuple[e.Event, ...], said: HearChild, event: e.Event) -> None:
    given(started(), called(), *past).when(said).then(event)


@pytest.mark.parametrize("settled", WORDS)
@pytest.mark.parametrize("said", [word(COMPLETED, result=payload("9")), word(FAILED, error=TIMEOUT), word(RUNNING)])
def test_a_parent_hears_a_child_once(settled: e.Event, said: HearChild) -> None:
    given(started(), called(), settled).when(said).then_nothing()


def test_that_a_child_has_started_is_heard_once() -> None:
    given(started(), called(), e.ChildStarted(step_id=STEP)).when(word(RUNNING)).then_nothing()


def test_the_word_of_another_run_is_none_of_the_childs() -> None:
    other = HearChild(step_id=STEP, child="other", status=COMPLETED, result=payload("2"))
    given(started(), called()).when(other).then_nothing()


def test_an_answer_to_a_parent_that_is_gone_is_an_ordinary_nothing() -> None:
    given().when(word(COMPLETED, result=payload("2"))).then_nothing()


def test_an_answer_to_a_parent_that_ended_is_an_ordinary_nothing() -> None:
    given(started(), called(), ended()).when(word(COMPLETED, result=payload("2"))).then_nothing()


def test_an_answer_to_a_call_that_never_was_is_a_dead_letter() -> None:
    given(started()).when(word(COMPLETED, result=payload("2"))).then_refused("step_never_scheduled")


@pytest.mark.parametrize("event", WORDS)
def test_of_a_settled_child_nothing_more_is_expected(event: e.Event) -> None:
    given(started(), called()).happens(event).tells(CloseAttempt(STEP))


def test_a_cancelled_call_asks_the_child_to_stop_and_waits() -> None:
    requested = e.ChildCancelRequested(step_id=STEP)
    run = given(started(), called()).when(CancelChild(step_id=STEP)).then(requested)
    assert list(run.children) == [STEP]
    stop = Send(CHILD, CloseChild(parent=place(), how=CANCEL), f"{RUN_ID}/0/3/0", awaits=STEP)
    given(started(), called()).happens(requested).tells(stop)
    given(started(), called(), requested).when(CancelChild(step_id=STEP)).then_nothing()


@pytest.mark.parametrize(("close", "asks"), [(TERMINATE, True), (CANCEL, True), (ABANDON, False)])
def test_a_parent_that_ends_asks_its_children_to_end_as_they_were_called(close: str, *, asks: bool) -> None:
    run = given(started(), called(close=close)).state()
    found = sends(react(run, ended()))
    stop = Send(CHILD, CloseChild(parent=place(close=close), how=close), f"{RUN_ID}/0/3/1", awaits=STEP)
    assert found == ([stop] if asks else [])


def test_a_child_that_was_abandoned_and_has_started_is_let_go_of() -> None:
    run = given(started(), called(close=ABANDON), e.ChildStarted(step_id=STEP)).state()
    assert CloseAttempt(STEP) in react(run, ended())
    assert given(started(), called(close=ABANDON), e.ChildStarted(step_id=STEP), ended()).state().closing == {}


def test_a_child_that_owes_an_answer_is_asked_after_when_its_parent_has_ended() -> None:
    run = given(started(), called(), ended()).state()
    first, second = remind(run, STEP)
    assert (first.command, first.identity) == (start(), f"{RUN_ID}/0/2/0")
    assert second == sends(react(given(started(), called()).state(), ended()))[0]
    assert answer(run, word(TERMINATED), None) == (CloseAttempt(STEP),)
    assert answer(run, word(RUNNING), None) == ()


def test_what_a_child_may_not_have_heard_is_said_again_as_it_was_said() -> None:
    requested = e.ChildCancelRequested(step_id=STEP)
    before = given(started(), called()).state()
    said = (*react(given(started()).state(), called()), *react(before, requested))
    assert remind(given(started(), called(), requested).state(), STEP) == said


def test_a_detached_child_is_settled_when_it_has_started() -> None:
    past = (started(), called(close=ABANDON, detached=True))
    begun = e.ChildStarted(step_id=STEP)
    given(*past).happens(begun).tells(CloseAttempt(STEP))
    assert given(*past, begun).state().children == {}


def test_a_run_that_waits_for_a_child_does_not_stand() -> None:
    assert given(started(), called()).state().stands is None


# ------------------------------------------------------------ the child


def test_a_child_knows_its_parent() -> None:
    (event,) = decide(Run(CHILD), start())
    assert isinstance(event, e.RunStarted)
    assert event.parent == place()


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (e.RunCompleted(result=payload("2")), word(COMPLETED, result=payload("2"))),
        (e.RunFailed(error=TIMEOUT), word(FAILED, error=TIMEOUT)),
        (e.RunCancelled(), word(CANCELLED)),
        (e.RunTerminated(reason="fraud"), word(TERMINATED, reason="fraud")),
    ],
)
def test_the_end_of_a_child_is_told_to_its_parent(event: e.Event, said: HearChild) -> None:
    assert sends(react(child_of(place()), event)) == [Send(RUN_ID, said, f"{CHILD}/0/2/0", incarnation=0)]


@pytest.mark.parametrize(
    ("close", "detached", "start_is_told", "end_is_told"),
    [
        (TERMINATE, False, False, True),
        (ABANDON, False, True, True),
        (TERMINATE, True, True, True),
        (ABANDON, True, True, False),
    ],
)
def test_a_child_tells_what_its_parent_waits_for(
    close: str, *, detached: bool, start_is_told: bool, end_is_told: bool
) -> None:
    parent = place(close=close, detached=detached)
    begun = e.RunStarted(workflow="ship", version="1", input=payload("1"), parent=parent)
    assert bool(sends(react(Run(CHILD), begun))) is start_is_told
    assert bool(sends(react(child_of(parent), ended()))) is end_is_told


def test_the_same_start_again_is_answered_by_what_was_said_before() -> None:
    done = e.RunCompleted(result=payload("2"))
    run = child_of(place(), done)
    assert decide(run, start()) == ()
    assert answer(run, start(), done) == tuple(sends(react(child_of(place()), done)))


def test_the_same_start_of_a_child_that_runs_is_not_answered() -> None:
    assert answer(child_of(place()), start(), None) == ()


def test_a_start_of_a_run_that_another_started_is_refused_and_changes_nothing() -> None:
    run = given(started()).state()
    stranger = StartRun(workflow="order", version="1", input=payload("1"), parent=Parent("other", 2, STEP))
    assert decide(run, stranger) == ()
    (refused,) = sends(answer(run, stranger, None))
    assert (refused.to, refused.incarnation, refused.identity) == ("other", 2, f"other/2/{STEP}/refused")
    assert isinstance(refused.command, HearChild)
    assert isinstance(refused.command.error, Failure)
    assert refused.command.error.type == "RunExists"


@pytest.mark.parametrize(
    ("how", "event"),
    [
        (TERMINATE, e.RunTerminated(reason=f"parent run {RUN_ID} has ended")),
        (CANCEL, e.CancelRequested(reason=f"parent run {RUN_ID} asks for it", message_id=f"{RUN_ID}/0/{STEP}")),
    ],
)
def test_a_parent_ends_its_child(how: str, event: e.Event) -> None:
    close = CloseChild(parent=place(), how=how)
    assert decide(child_of(place()), close) == (event,)
    assert decide(child_of(place(), event), close) == ()


@pytest.mark.parametrize("how", [TERMINATE, CANCEL])
def test_nobody_but_its_parent_closes_a_child(how: str) -> None:
    close = CloseChild(parent=Parent("other", 0, STEP), how=how)
    assert decide(child_of(place()), close) == ()
    given(started()).when(close).then_nothing()
    given().when(close).then_nothing()


def test_a_child_that_has_ended_answers_again_when_it_is_to_be_closed() -> None:
    done = e.RunCompleted(result=payload("2"))
    close = CloseChild(parent=place(), how=TERMINATE)
    assert answer(child_of(place(), done), close, done) == tuple(sends(react(child_of(place()), done)))


# ------------------------------------------------------------ its name


@pytest.mark.parametrize(
    ("parent", "incarnation", "step"),
    [("order-1", 0, "ship#1"), ("o" * 255, 0, "ship#1"), ("order", 7, "ship#12"), ("order", 0, "schön#1")],
)
def test_the_id_of_a_child_is_a_run_id(parent: str, incarnation: int, step: str) -> None:
    found = child_run_id(parent, incarnation, step)
    assert run_id(found) == found
    assert len(found) <= RUN_ID_LIMIT


def test_the_id_of_a_child_is_one_for_each_place() -> None:
    long = "o" * 255
    places = [
        (long, 0, "a#1"),
        (long, 1, "a#1"),
        (long, 0, "a#2"),
        (long[:-1], 0, "a#1"),
        ("b", 0, "a#1"),
        ("b", 1, "a#1"),
    ]
    assert len({child_run_id(*one) for one in places}) == len(places)
