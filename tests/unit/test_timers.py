"""Which durable waits are due, in which order."""

from hypothesis import given
from hypothesis import strategies as st

from holdfast.app.orchestrator.timers import HORIZON, DueTimers
from holdfast.core.commands import AttemptStep, FireTimer
from holdfast.ports.timers import TimerRow

NOW = 1_700_000_000_000_000


def row(run_id: str, due_at: int, timer_id: str = "timer#1", shard: int = 0) -> TimerRow:
    return TimerRow(run_id, 0, timer_id, shard, due_at)


def armed(*rows: TimerRow) -> DueTimers:
    timers = DueTimers()
    timers.arm(rows, NOW)
    return timers


def taken(timers: DueTimers, now: int, limit: int = 1000) -> list[str]:
    return [one.run_id for one in timers.take_due(now, limit)]


def test_what_is_due_is_taken_once_in_the_order_of_time_and_id() -> None:
    timers = armed(row("c", NOW + 2), row("b", NOW + 1, "timer#2"), row("a", NOW + 1, "timer#1"), row("d", NOW + 3))
    assert timers.next_due() == NOW + 1
    assert taken(timers, NOW + 2) == ["a", "b", "c"]
    assert taken(timers, NOW + 2) == []
    assert timers.next_due() == NOW + 3


def test_at_most_so_many_are_taken_at_once() -> None:
    timers = armed(*(row(f"r{number}", NOW + number) for number in range(5)))
    assert taken(timers, NOW + 9, limit=2) == ["r0", "r1"]
    assert taken(timers, NOW + 9, limit=9) == ["r2", "r3", "r4"]


def test_what_is_far_away_is_left_to_the_store() -> None:
    timers = armed(row("near", NOW + HORIZON), row("far", NOW + HORIZON + 1))
    assert len(timers) == 1
    assert taken(timers, NOW + 2 * HORIZON) == ["near"]


def test_a_wait_that_was_called_off_does_not_fire() -> None:
    timers = armed(row("a", NOW + 1), row("b", NOW + 2))
    timers.disarm([("a", 0, "timer#1"), ("nobody", 0, "timer#1")])
    assert timers.next_due() == NOW + 2
    assert taken(timers, NOW + 9) == ["b"]


def test_a_wait_that_is_found_again_fires_once() -> None:
    timers = armed(row("a", NOW + 1))
    timers.arm([row("a", NOW + 1)], NOW)
    assert taken(timers, NOW + 9) == ["a"]
    assert taken(timers, NOW + 9) == []


def test_a_wait_whose_time_has_changed_fires_at_the_new_time() -> None:
    timers = armed(row("a", NOW + 1))
    timers.arm([row("a", NOW + 5)], NOW)
    assert timers.next_due() == NOW + 5
    assert taken(timers, NOW + 4) == []
    assert taken(timers, NOW + 5) == ["a"]


def test_the_waits_of_lost_shards_are_forgotten() -> None:
    timers = armed(row("a", NOW + 1, shard=1), row("b", NOW + 2, shard=2))
    timers.forget(frozenset({1}))
    assert taken(timers, NOW + 9) == ["b"]
    assert timers.next_due() is None


def test_a_wait_says_what_it_is_for() -> None:
    timers = armed(row("a", NOW), row("b", NOW + 1, "retry:3:read#1"), row("c", NOW + 2, "retry:2:left:right"))
    assert [one.command for one in timers.take_due(NOW + 9, 9)] == [
        FireTimer(timer_id="timer#1"),
        AttemptStep(step_id="read#1", attempt=3),
        AttemptStep(step_id="left:right", attempt=2),
    ]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 50), st.booleans()), max_size=60))
def test_whatever_is_armed_and_called_off_each_fires_at_its_last_time(acts: list[tuple[int, int, bool]]) -> None:
    timers = DueTimers()
    expected: dict[str, int] = {}
    for number, due, on in acts:
        name = f"r{number}"
        if on:
            timers.arm([row(name, NOW + due)], NOW)
            expected[name] = due
        else:
            timers.disarm([(name, 0, "timer#1")])
            expected.pop(name, None)
    fired: dict[str, int] = {}
    for now in range(51):
        for name in taken(timers, NOW + now):
            assert name not in fired
            fired[name] = now
    assert fired == expected
