"""How the arguments and the result of a function travel: what is left out, what has no such name."""

import dataclasses
import datetime as dt
from typing import Any, NoReturn

import pydantic
import pytest

from holdfast.sdk.shape import Shape
from holdfast.sdk.values import UnfitValue


@dataclasses.dataclass
class Card:
    number: str


@dataclasses.dataclass
class Iban:
    iban: str


class Order(pydantic.BaseModel):
    number: int
    notes: list[str] = []


NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=dt.UTC)


def shape_of(function: Any) -> Shape:
    shape = Shape(function)
    shape.check()
    return shape


def several(number: int, text: str = "x") -> None: ...
def nothing() -> None: ...
def unannotated(anything=7): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - as authors may
def small(quantity: int = 1, unit: str = "pcs") -> None: ...
def count(n: int = 3) -> None: ...
def maybe(n: int | None = 3) -> None: ...
def unsaid(n: int = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013 - as authors may


@pytest.mark.parametrize(
    ("function", "data", "bound"),
    [
        (small, b"null", ((), {"quantity": 1, "unit": "pcs"})),
        (small, b"{}", ((), {"quantity": 1, "unit": "pcs"})),
        (small, b'{"unit": "kg"}', ((), {"quantity": 1, "unit": "kg"})),
        (count, b"null", ((3,), {})),
        (count, b" null\n", ((3,), {})),
        (maybe, b"null", ((None,), {})),
        (unsaid, b"null", ((None,), {})),
        (unannotated, b"null", ((None,), {})),
        (nothing, b"{}", ((), {})),
    ],
)
def test_what_is_left_out_has_its_default(function: Any, data: bytes, bound: Any) -> None:
    assert shape_of(function).decode_arguments(data) == bound


def test_a_call_with_defaults_is_recorded_with_them() -> None:
    assert shape_of(small).encode_arguments((), {}) == b'{"quantity":1,"unit":"pcs"}'
    assert shape_of(count).encode_arguments((), {}) == b"3"
    assert shape_of(unsaid).encode_arguments((), {}) == b"null"


def test_a_name_that_no_parameter_has_is_refused() -> None:
    with pytest.raises(UnfitValue, match=r"small\(\) \(quantity, unit\).*unknown field `quantitty`"):
        shape_of(small).decode_arguments(b'{"quantitty": 100}')
    with pytest.raises(UnfitValue, match=r"nothing\(\) takes no arguments"):
        shape_of(nothing).decode_arguments(b'{"n": 1}')


def test_null_is_refused_where_a_parameter_has_no_default() -> None:
    with pytest.raises(UnfitValue):
        shape_of(several).decode_arguments(b"null")


def test_several_arguments_travel_each_by_its_annotation() -> None:
    def order(labels: set[str], due: dt.date | str, model: Order, card: Card | Iban = Card("1")) -> None: ...  # noqa: B008 - as authors may

    shape = shape_of(order)
    data = shape.encode_arguments(({"b", "a"}, NOW.date(), Order(number=1)), {})
    assert data == (
        b'{"labels":["a","b"],"due":{"date":"2026-01-02"},"model":{"number":1,"notes":[]},"card":{"Card":{"number":"1"}}}'
    )
    bound = {"labels": {"a", "b"}, "due": NOW.date(), "model": Order(number=1), "card": Card("1")}
    assert shape.decode_arguments(data) == ((), bound)


def test_a_function_that_never_returns_may_say_so() -> None:
    def fails() -> NoReturn:
        raise ValueError

    with pytest.raises(UnfitValue, match=r"the result of .*fails\(\)"):
        shape_of(fails).encode_result(None)
