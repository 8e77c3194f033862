"""Runs take turns: what one has much of keeps nobody waiting, and what is one's own keeps its order."""

from hypothesis import given
from hypothesis import strategies as st

from holdfast.app.fair_queue import FairQueue


def filled(items: list[tuple[str, int]]) -> FairQueue[tuple[str, int]]:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for item in items:
        queue.put(item[0], item)
    return queue


def test_names_take_turns_and_one_that_comes_late_waits_for_one_round() -> None:
    queue = filled([("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2), ("c", 1)])
    taken = [queue.take() for _ in range(2)]
    queue.put("d", ("d", 1))
    taken += [queue.take() for _ in range(len(queue))]
    assert taken == [("a", 1), ("b", 1), ("c", 1), ("a", 2), ("b", 2), ("d", 1), ("a", 3)]


items = st.lists(st.tuples(st.sampled_from("abc"), st.integers()))


@given(items)
def test_nothing_is_lost_and_each_name_keeps_its_order(given_: list[tuple[str, int]]) -> None:
    queue = filled(given_)
    assert sorted(queue) == sorted(given_)
    taken = [queue.take() for _ in range(len(queue))]
    for name in "abc":
        assert [item for item in taken if item[0] == name] == [item for item in given_ if item[0] == name]
    assert len(queue) == 0


@given(items, st.sampled_from("abc"))
def test_what_is_discarded_is_gone_and_the_rest_keeps_its_order(given_: list[tuple[str, int]], lost: str) -> None:
    queue = filled(given_)
    dropped = queue.discard(lambda item: item[0] == lost or item[1] % 2 == 0)
    rest = [item for item in given_ if item not in dropped]
    taken = [queue.take() for _ in range(len(queue))]
    assert sorted(taken) == sorted(rest)
    for name in "abc":
        assert [item for item in taken if item[0] == name] == [item for item in rest if item[0] == name]
