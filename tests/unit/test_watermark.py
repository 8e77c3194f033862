"""The progress of a partition that is finished out of order."""

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.adapters.kafka.progress import FINISHED_LIMIT
from holdfast.adapters.kafka.watermark import Watermark

FIRST = 100


@st.composite
def works(draw: st.DrawFn) -> tuple[list[int], set[int]]:
    """Offsets of a log with gaps, and those of them that are finished, in the order of their finishing."""
    gaps = draw(st.lists(st.integers(1, 4), max_size=80))
    offsets, offset = [], FIRST
    for gap in gaps:
        offsets.append(offset)
        offset += gap
    finished = draw(st.sets(st.sampled_from(offsets))) if offsets else set()
    return offsets, finished


def taken(mark: Watermark, offsets: list[int]) -> list[int]:
    return [offset for offset in offsets if mark.take(offset)]


def after(offsets: list[int], finished: set[int]) -> Watermark:
    mark = Watermark(FIRST)
    taken(mark, offsets)
    for offset in finished:
        mark.finish(offset)
    return mark


@given(works())
def test_the_low_watermark_is_the_first_that_is_not_finished(work: tuple[list[int], set[int]]) -> None:
    offsets, finished = work
    mark = after(offsets, finished)
    unfinished = [offset for offset in offsets if offset not in finished]
    assert mark.low == (unfinished[0] if unfinished else (offsets[-1] + 1 if offsets else FIRST))


@given(works())
def test_a_successor_is_handed_what_is_not_finished_and_nothing_else(work: tuple[list[int], set[int]]) -> None:
    offsets, finished = work
    mark = after(offsets, finished)
    successor = Watermark(mark.low, mark.finished())
    coming = [offset for offset in offsets if offset >= mark.low]
    assert taken(successor, coming) == [offset for offset in offsets if offset not in finished]


@given(works(), st.data())
def test_a_successor_that_has_read_only_a_part_commits_the_rest_too(
    work: tuple[list[int], set[int]], data: st.DataObject
) -> None:
    offsets, finished = work
    mark = after(offsets, finished)
    coming = [offset for offset in offsets if offset >= mark.low]
    read = data.draw(st.integers(0, len(coming)))
    second = Watermark(mark.low, mark.finished())
    handed = taken(second, coming[:read])
    more = data.draw(st.sets(st.sampled_from(handed))) if handed else set()
    for offset in more:
        second.finish(offset)

    third = Watermark(second.low, second.finished())

    still = [offset for offset in coming if offset >= second.low]
    assert taken(third, still) == [offset for offset in offsets if offset not in finished | more]


@given(works())
def test_the_watermark_never_goes_back(work: tuple[list[int], set[int]]) -> None:
    offsets, finished = work
    mark, lows = Watermark(FIRST), [FIRST]
    for offset in offsets:
        mark.take(offset)
        lows.append(mark.low)
    for offset in finished:
        mark.finish(offset)
        lows.append(mark.low)
    assert lows == sorted(lows)


def test_what_is_all_finished_needs_no_runs() -> None:
    assert after([100, 101, 102], {100, 101, 102}).finished() == ""


def test_one_slow_task_costs_a_few_bytes_however_many_are_finished_above_it() -> None:
    offsets = list(range(FIRST, FIRST + 100_000))
    mark = after(offsets, set(offsets[1:]))
    assert mark.low == FIRST
    assert len(mark.finished()) < 12


@settings(max_examples=10)
@given(st.integers(1_500, 6_000))
def test_the_metadata_never_outgrows_its_limit_and_says_before_that_it_is_full(count: int) -> None:
    offsets = list(range(FIRST, FIRST + 2 * count))
    mark = after(offsets, set(offsets[1::2]))
    assert mark.full
    assert len(mark.finished()) <= FINISHED_LIMIT
    assert mark.finished().isascii()
    successor = Watermark(mark.low, mark.finished())
    handed = taken(successor, offsets)
    assert set(offsets[::2]) <= set(handed), "what is not finished is never lost"
    assert len(handed) < len(offsets), "and what there was room for is not repeated"


def test_it_is_not_full_as_long_as_finished_work_is_in_few_runs() -> None:
    offsets = list(range(FIRST, FIRST + 50_000))
    assert not after(offsets, set(offsets[1:])).full


def test_what_somebody_else_wrote_into_the_metadata_is_not_believed() -> None:
    for text in ("", "a note", "1.###", "9.AAAA", "1.\x00", "1.éé"):
        assert taken(Watermark(5, text), [5, 6, 7]) == [5, 6, 7]


def test_finishing_twice_is_once() -> None:
    mark = after([100, 101], {100})
    mark.finish(100)
    mark.finish(7)
    assert mark.low == 101
