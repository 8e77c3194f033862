"""Faults of the server: which are waited for, and which are the fault of the runs they are about."""

from holdfast.app.orchestrator.draft import Input
from holdfast.app.orchestrator.server_faults import LASTING, MOST, Faults
from holdfast.core.commands import CancelRun

ALL = frozenset({"a", "b", "c"})


def about(*runs: str) -> list[Input]:
    return [Input(0, run_id, CancelRun()) for run_id in runs]


def test_faults_in_a_row_over_some_time_are_no_accident() -> None:
    faults = Faults()
    assert [faults.met(ALL, number * LASTING / (MOST - 1)) for number in range(MOST)] == [False, False, True]


def test_many_faults_within_a_moment_are_waited_for() -> None:
    faults = Faults()
    assert not any(faults.met(ALL, number * LASTING / 100) for number in range(99))


def test_a_fault_about_other_runs_is_counted_apart() -> None:
    faults = Faults()
    told = [
        faults.met(frozenset({"a"}), 0),
        faults.met(frozenset({"b"}), LASTING),
        faults.met(frozenset({"a"}), LASTING),
    ]
    assert told == [False, False, False]


def test_what_was_written_meanwhile_begins_the_count_anew() -> None:
    faults = Faults()
    faults.met(ALL, 0)
    faults.met(ALL, 1)
    faults.clear(about(*ALL))
    assert not faults.met(ALL, LASTING)


def test_of_suspects_one_fault_is_enough_to_tell_them_apart_further() -> None:
    faults = Faults()
    faults.blame(ALL)
    assert faults.met(frozenset({"a", "b"}), 0)


def test_a_suspect_that_stands_alone_gets_its_time_again() -> None:
    faults = Faults()
    faults.blame(ALL)
    assert not faults.met(frozenset({"a"}), 0)


def test_a_run_that_was_found_out_is_refused_at_its_next_fault() -> None:
    faults = Faults()
    faults.blame(frozenset({"a"}))
    assert faults.met(frozenset({"a"}), 0)


def test_a_run_that_could_be_written_is_no_suspect_any_more() -> None:
    faults = Faults()
    faults.blame(ALL)
    faults.clear(about("a"))
    assert not faults.met(frozenset({"a", "b"}), 0)
