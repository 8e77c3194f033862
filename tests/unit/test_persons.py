"""A step that is a person's: no worker executes it, and a resume settles it."""

from holdfast.core import events as e
from holdfast.core.commands import CompleteStep, FailStep, ResumeRun, ScheduleStep
from holdfast.core.identity import digest
from holdfast.core.payload import Payload
from holdfast.core.replay import Rebuilt, resume
from holdfast.core.run import PARKED, RUNNING, Run
from holdfast.core.settling import ATTEMPTS_EXHAUSTED, COMPENSATION_FAILED, PERSON
from tests.unit.given import NOON, RUN_ID, TIMEOUT, attempted, given, parked, payload, scheduled, started

TOLD = b'"refund failed; still to do after it: release"'
LOOK = ScheduleStep(
    step_id="compensations#1", name="compensations", kind=PERSON, input=Payload(data=TOLD), input_hash=digest(TOLD)
)
SCHEDULED = e.StepScheduled(
    step_id="compensations#1",
    name="compensations",
    kind=PERSON,
    input=Payload(data=TOLD),
    input_hash=digest(TOLD),
    queue="default",
    retry=LOOK.retry,
    timeout=600.0,
)
STEP_PARKED = e.StepParked(
    step_id="compensations#1", reason="compensation_failed: refund failed; still to do after it: release"
)
DONE = e.StepCompleted(step_id="compensations#1", attempt=1, result=Payload(data=b"null"))


def test_it_waits_from_the_beginning_and_says_for_what() -> None:
    run = given(started()).when(LOOK).then(SCHEDULED, STEP_PARKED)
    assert (run.status, run.stands) == (RUNNING, COMPENSATION_FAILED)


def test_no_worker_hears_of_it() -> None:
    given(started()).happens(SCHEDULED).tells_nothing()


def test_a_resume_settles_it() -> None:
    run = given(started(), SCHEDULED, STEP_PARKED).when(ResumeRun(by="ada")).then(DONE)
    assert not run.open_steps


def test_what_its_turn_may_let_go_of_is_tried_again_before() -> None:
    exhausted = e.StepParked(step_id="read#1", reason=f"{ATTEMPTS_EXHAUSTED}: it failed")
    past = (started(), scheduled(), SCHEDULED, STEP_PARKED, exhausted)
    given(*past).when(ResumeRun(by="ada")).then(attempted(), DONE)


def test_a_failure_says_nothing_about_it() -> None:
    past = (started(), SCHEDULED, STEP_PARKED)
    given(*past).when(FailStep(step_id="compensations#1", attempt=1, error=TIMEOUT, at=NOON)).then_nothing()


class Looks:
    """Code that waits for a person, and then for another; `heard` is what it was told."""

    replaying = False
    history_length = 0
    paused = False
    part = 512

    def __init__(self) -> None:
        self.heard: list[e.Event] = []

    def apply(self, event: e.Event, at: int) -> list[ScheduleStep]:
        self.heard.append(event)
        return [LOOK] if isinstance(event, e.RunStarted) else []

    def go_on(self) -> list[ScheduleStep]:
        raise NotImplementedError

    def where(self, request: object) -> str:
        return ""

    def is_cancelling(self) -> bool:
        return False


def test_the_code_of_a_run_that_was_parked_itself_hears_of_it_live_and_in_a_replay() -> None:
    before: tuple[e.Event, ...] = (started(), SCHEDULED, STEP_PARKED, parked())
    past = [e.Recorded(n, n, one) for n, one in enumerate(before, 1)]
    code = Looks()
    rebuilt = Rebuilt(Run(RUN_ID))
    assert rebuilt.replay(past, code).status == PARKED
    advanced = resume(rebuilt, code, ResumeRun(by="ada"), 9)
    assert advanced.events == [DONE, e.RunResumed(by="ada")]
    assert code.heard == [started(), DONE]

    again = Looks()
    whole = [*past, *(e.Recorded(n, 9, one) for n, one in enumerate(advanced.events, 5))]
    assert Rebuilt(Run(RUN_ID)).replay(whole, again) == advanced.run
    assert again.heard == [started(), DONE]


def test_what_comes_twice_settles_once() -> None:
    past = (started(), SCHEDULED, STEP_PARKED, DONE)
    given(*past).when(ResumeRun(by="ada")).then_nothing()
    given(*past).when(CompleteStep(step_id="compensations#1", attempt=1, result=payload("2"))).then_nothing()
