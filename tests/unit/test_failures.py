"""An author's exception in the words of history, whatever the exception does to whoever tells it."""

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from holdfast.core.replay import ProgramStuck
from holdfast.sdk.eviction import forget_frames
from holdfast.sdk.failures import DEPTH, MEMBERS, MESSAGE_LIMIT, failure_of, innermost


def raised(raising: Callable[[], Any]) -> BaseException:
    try:
        raising()
    except BaseException as error:  # noqa: BLE001 - whatever the story raises
        return error
    raise AssertionError("nothing was raised")


def refuse(error: BaseException) -> NoReturn:
    raise error


def its_own_cause() -> None:
    try:
        int("x")
    except ValueError as error:
        raise error from error


def a_ring_of_causes() -> None:
    first, second, third = ValueError("first"), KeyError("second"), OSError("third")
    first.__cause__, second.__cause__, third.__cause__ = second, third, first
    raise first


def causes(depth: int) -> BaseException:
    error = Exception("the deepest")
    for number in range(depth):
        above = Exception(f"cause {number}")
        above.__cause__ = error
        error = above
    return error


@pytest.mark.parametrize("raising", [its_own_cause, a_ring_of_causes])
def test_a_cycle_of_causes_is_told_once(raising: Callable[[], None]) -> None:
    failure = failure_of(raised(raising))
    assert failure.type == "ValueError"
    assert failure.trace.count("ValueError") == 1


@pytest.mark.parametrize("raising", [its_own_cause, a_ring_of_causes])
def test_a_cycle_of_causes_lets_go_of_its_frames(raising: Callable[[], None]) -> None:
    error = raised(raising)
    forget_frames(error)
    assert error.__traceback__ is None


def test_ten_thousand_causes_are_told_up_to_a_few_and_all_let_go_of_their_frames() -> None:
    error = raised(lambda: refuse(causes(10_000)))
    failure = failure_of(error)
    forget_frames(error)
    assert "cause 9999" in failure.trace
    assert len(failure.trace) <= MESSAGE_LIMIT


def test_a_message_of_100_mb_is_cut() -> None:
    failure = failure_of(ValueError("x" * 100_000_000))
    assert (len(failure.message), len(failure.trace)) <= (MESSAGE_LIMIT, MESSAGE_LIMIT)


def raising_str(_: object) -> str:
    raise SystemExit(3)


def not_a_str(_: object) -> int:
    return 7


@pytest.mark.parametrize("unwilling", [raising_str, not_a_str])
def test_a_text_that_cannot_be_told_is_named_and_nothing_is_raised(unwilling: Callable[[Any], Any]) -> None:
    kind: Any = type("Unwilling", (Exception,), {"__str__": unwilling, "__repr__": unwilling})
    failure = failure_of(raised(lambda: refuse(kind("x"))))
    assert failure.type == "Unwilling"
    assert "its text cannot be told" in failure.message


class Liar(Exception):
    """Answers whatever whoever asks would walk or compare."""

    __cause__ = property(lambda _: Liar())
    __notes__ = property(lambda _: iter(int, 1))

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")

    def __hash__(self) -> int:
        raise RuntimeError("hashed")


def test_only_what_python_itself_keeps_of_an_exception_is_believed() -> None:
    error = raised(lambda: refuse(Liar("x")))
    failure = failure_of(error)
    forget_frames(error)
    assert (failure.type, failure.message) == ("Liar", "x")


class UnhashableKind(type):
    def __hash__(cls) -> int:
        raise RuntimeError("hashed")

    def __getattribute__(cls, name: str) -> Any:
        if name in {"__qualname__", "__name__", "__module__", "__mro__"}:
            raise RuntimeError("named")
        return super().__getattribute__(name)


def test_a_class_of_errors_that_cannot_be_hashed_or_named_is_an_ordinary_failure() -> None:
    kind = UnhashableKind("Odd", (ValueError,), {})
    failure = failure_of(kind("x"))
    assert failure.type == "Odd"
    assert "builtins.ValueError" in failure.kinds


def test_a_group_tells_its_members() -> None:
    group = ExceptionGroup("two things", [ValueError("left"), ExceptionGroup("more", [KeyError("right")])])
    lines = failure_of(group).message.splitlines()
    assert lines[1:] == ["  ValueError: left", "  ExceptionGroup: more (1 sub-exception)", "    KeyError: 'right'"]


def test_a_group_of_very_many_members_tells_a_few_and_counts_the_rest() -> None:
    failure = failure_of(ExceptionGroup("many", [ValueError(str(number)) for number in range(1_000)]))
    assert failure.message.endswith(f"and {1_000 - MEMBERS} more")


def test_groups_in_groups_are_told_up_to_a_depth() -> None:
    group: ExceptionGroup[Exception] = ExceptionGroup("0", [ValueError("innermost")])
    for number in range(500):
        group = ExceptionGroup(str(number), [group])
    assert failure_of(group).message.count("ExceptionGroup") == DEPTH


def test_the_members_of_a_group_that_lies_about_them_are_found() -> None:
    class Lying(ExceptionGroup[Exception]):
        def subgroup(self, *_: Any) -> Any:
            raise RuntimeError("asked")

        def __iter__(self) -> Iterator[Any]:
            return iter(int, 1)

    stuck = ProgramStuck("not_deterministic", "x")
    assert innermost(Lying("x", [ValueError("y"), stuck])) is stuck


def test_a_note_is_told() -> None:
    error = ValueError("x")
    error.add_note("while reading order o-1")
    assert "while reading order o-1" in failure_of(error).trace


def test_what_led_to_an_error_is_told_before_it() -> None:
    def converts() -> None:
        try:
            int("x")
        except ValueError as error:
            raise KeyError("no number") from error

    trace = failure_of(raised(converts)).trace
    assert trace.index("ValueError") < trace.index("direct cause") < trace.index("KeyError")
