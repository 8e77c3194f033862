"""When a failed attempt is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.retry import Failure, RetrySchedule, next_attempt_at

AT = 1_700_000_000_000_000
SECOND = 1_000_000
ERROR = Failure("ConnectionError", "refused", kinds=("builtins.ConnectionError", "builtins.OSError"))


def due(schedule: RetrySchedule, failed: int = 1, error: Failure = ERROR, deadline: int | None = None) -> int | None:
    return next_attempt_at(schedule, failed, error, identity="order-1/0/read#1", at=AT, deadline=deadline)


def test_the_wait_grows_up_to_its_maximum() -> None:
    schedule = RetrySchedule(attempts=0, initial=1.0, backoff=2.0, maximum=5.0, jitter=0.0)
    waits = [((due(schedule, failed) or 0) - AT) / SECOND for failed in range(1, 6)]
    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_the_last_attempt_is_the_last() -> None:
    schedule = RetrySchedule(attempts=3)
    assert [due(schedule, failed) is None for failed in (1, 2, 3, 4)] == [False, False, True, True]


def test_no_limit_is_no_limit() -> None:
    assert due(RetrySchedule(attempts=0), failed=1_000_000) is not None


def test_what_is_not_retryable_is_not_tried_again() -> None:
    assert due(RetrySchedule(), error=Failure("UnfitValue", "x", retryable=False)) is None


@pytest.mark.parametrize("name", ["ConnectionError", "builtins.ConnectionError", "builtins.OSError"])
def test_an_error_is_told_by_its_name_or_its_bases(name: str) -> None:
    assert due(RetrySchedule(never_on=(name,))) is None
    assert due(RetrySchedule(on=(name,))) is not None


def test_only_the_named_errors_are_tried_again() -> None:
    assert due(RetrySchedule(on=("builtins.TimeoutError",))) is None


def test_never_on_outweighs_on() -> None:
    assert due(RetrySchedule(on=("builtins.OSError",), never_on=("builtins.ConnectionError",))) is None


def test_an_attempt_at_the_deadline_comes_too_late() -> None:
    schedule = RetrySchedule(initial=2.0, jitter=0.0)
    assert due(schedule, deadline=AT + 2 * SECOND) is None
    assert due(schedule, deadline=AT + 2 * SECOND + 1) == AT + 2 * SECOND


@given(st.floats(0, 1), st.integers(1, 100), st.text(max_size=20))
def test_jitter_stays_in_its_bounds_and_is_drawn_from_the_identity(jitter: float, failed: int, identity: str) -> None:
    schedule = RetrySchedule(attempts=0, initial=8.0, backoff=1.0, jitter=jitter)

    def drawn() -> int:
        found = next_attempt_at(schedule, failed, ERROR, identity=identity, at=AT, deadline=None)
        assert found is not None
        return found

    assert 8.0 * (1 - jitter) - 1e-5 <= (drawn() - AT) / SECOND <= 8.0 * (1 + jitter) + 1e-5
    assert drawn() == drawn()


def test_two_steps_do_not_wait_alike() -> None:
    schedule = RetrySchedule(initial=10.0, jitter=0.5)
    waits = {next_attempt_at(schedule, 1, ERROR, identity=f"r/0/read#{n}", at=AT, deadline=None) for n in range(20)}
    assert len(waits) == 20


@pytest.mark.parametrize(
    "schedule",
    [
        RetrySchedule(attempts=0, initial=1.0, backoff=1e6),
        RetrySchedule(attempts=0, initial=1.0, backoff=1e300, maximum=float("inf")),
        RetrySchedule(attempts=0, initial=float("inf"), maximum=float("inf")),
        RetrySchedule(attempts=0, initial=0.0, backoff=0.0),
    ],
)
@pytest.mark.parametrize("failed", [1, 2, 64, 10_000])
def test_no_schedule_is_too_wild_to_be_told(schedule: RetrySchedule, failed: int) -> None:
    found = due(schedule, failed)
    assert found is not None
    assert AT <= found < 2**63


@pytest.mark.parametrize("type_", ["LeaseOver", "Unheard", "UnknownStep"])
def test_a_worker_that_ended_in_the_middle_is_no_error_of_the_authors_to_choose(type_: str) -> None:
    ended = Failure(type_, "process 7 fell silent")
    assert due(RetrySchedule(on=("builtins.TimeoutError",)), error=ended) is not None
    assert due(RetrySchedule(attempts=1), error=ended) is None
