"""Mappings that are never changed in place."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import events as e
from holdfast.core.payload import Payload
from holdfast.core.retry import RetrySchedule
from holdfast.core.run import Run, evolve
from holdfast.core.sharing import FEW, LARGE, added, ordered, without

KEYS = st.integers(0, 2 * LARGE).map(str)


def filled(count: int) -> Mapping[str, int]:
    mapping: Mapping[str, int] = {}
    for number in range(count):
        mapping = added(mapping, str(number), number)
    return mapping


@given(st.sampled_from((0, FEW, LARGE - 1, LARGE, 2 * LARGE)), st.lists(st.tuples(st.booleans(), KEYS), max_size=300))
def test_a_mapping_of_any_size_holds_what_was_added_and_not_taken_out(
    count: int, changes: list[tuple[bool, str]]
) -> None:
    mapping, model = filled(count), {str(number): number for number in range(count)}
    for adds, key in changes:
        mapping = added(mapping, key, -1) if adds else without(mapping, key)
        model = {**model, key: -1} if adds else {one: value for one, value in model.items() if one != key}
        assert len(mapping) == len(model)
        assert (key in mapping, mapping.get(key)) == (adds, -1 if adds else None)
    assert {key: mapping[key] for key in mapping} == model
    assert sorted(ordered(mapping)) == sorted(model)


@given(st.sampled_from((1, FEW + 1, LARGE - 1, LARGE, 2 * LARGE)))
def test_a_change_leaves_the_mapping_before_it_untouched(count: int) -> None:
    before = filled(count)
    added(before, "new", 0)
    added(before, "0", -1)
    without(before, "0")
    assert {key: before[key] for key in before} == {str(number): number for number in range(count)}


def test_the_keys_of_a_large_mapping_have_an_order_that_does_not_depend_on_the_process() -> None:
    assert list(ordered(filled(2 * LARGE))) == sorted(map(str, range(2 * LARGE)))


def test_a_mapping_that_became_small_again_is_a_dict() -> None:
    mapping = filled(LARGE)
    for number in range(LARGE - FEW):
        mapping = without(mapping, str(number))
    assert mapping == {str(number): number for number in range(LARGE - FEW, LARGE)}


def test_a_run_of_many_steps_is_folded_to_the_same_state_whatever_way_its_steps_end() -> None:
    run = Run("r")
    for number in range(1, 2 * LARGE + 1):
        run = evolve(run, scheduled(f"read#{number}"))
    half = run
    for number in range(2 * LARGE, 0, -1):
        run = evolve(run, e.StepCompleted(step_id=f"read#{number}", attempt=1, result=Payload(data=b"1")))
    assert (run.open_steps, run.counters, run.seq) == ({}, {"read": 2 * LARGE}, 4 * LARGE)
    assert len(half.open_steps) == 2 * LARGE


def scheduled(step_id: str) -> e.StepScheduled:
    return e.StepScheduled(
        step_id=step_id,
        name="read",
        kind="step",
        input=Payload(data=b"[]"),
        input_hash=b"",
        queue="default",
        retry=RetrySchedule(),
        timeout=1.0,
    )
