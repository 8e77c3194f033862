"""Values of the author on their way to JSON and back."""

import dataclasses
import datetime as dt
import decimal
import enum
import uuid
from typing import Any

import msgspec
import pydantic
import pytest

from holdfast.core.payload import INLINE_LIMIT, Payload, claim_check, name_of, same
from holdfast.sdk.shape import Shape
from holdfast.sdk.values import GIVEN, UnfitValue, decode, decoder, encode


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Frame:
    model: str
    size: int


class Lens(msgspec.Struct):
    power: float


class Order(pydantic.BaseModel):
    number: int
    notes: list[str] = []


NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=dt.UTC)
VALUES: list[tuple[Any, Any]] = [
    (int, 7),
    (str, "Ärger 🙂"),
    (float, 1.5),
    (bool, True),
    (type(None), None),
    (list[int], [1, 2]),
    (dict[str, int], {"a": 1}),
    (tuple[int, str], (1, "x")),
    (set[int], {1, 2}),
    (bytes, b"\x00\xff"),
    (dt.datetime, NOW),
    (dt.date, NOW.date()),
    (dt.timedelta, dt.timedelta(days=2, seconds=3)),
    (uuid.UUID, uuid.UUID(int=5)),
    (decimal.Decimal, decimal.Decimal("1.10")),
    (Colour, Colour.RED),
    (Frame, Frame("Aurora", 52)),
    (Lens, Lens(-1.75)),
    (Order, Order(number=1, notes=["x"])),
    (list[Order], [Order(number=2)]),
    (Frame | None, None),
    (Any, {"free": [1, None]}),
]


@pytest.mark.parametrize(("kind", "value"), VALUES, ids=lambda one: repr(one)[:30])
def test_a_value_comes_back_as_it_went(kind: Any, value: Any) -> None:
    back = decode(decoder(kind), encode(value, "it"), "it")
    assert back == value
    assert type(back) is type(value)


def shape_of(function: Any) -> Shape:
    shape = Shape(function)
    shape.check()
    return shape


def one(order: Order) -> Frame: ...  # type: ignore[empty-body]  # only its signature counts
def several(number: int, text: str = "x", *, frame: Frame | None = None) -> None: ...
def nothing() -> None: ...
def keyword_only(*, number: int) -> None: ...
def positional_only(number: int, text: str, /) -> None: ...
def with_key(order: int, *, key: str = GIVEN) -> None: ...
def unannotated(anything): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - as authors may


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "bound"),
    [
        (one, (Order(number=1),), {}, ((Order(number=1),), {})),
        (one, (), {"order": Order(number=1)}, ((Order(number=1),), {})),
        (several, (1,), {}, ((), {"number": 1, "text": "x", "frame": None})),
        (several, (1, "y"), {"frame": Frame("A", 1)}, ((), {"number": 1, "text": "y", "frame": Frame("A", 1)})),
        (nothing, (), {}, ((), {})),
        (keyword_only, (), {"number": 3}, ((), {"number": 3})),
        (positional_only, (1, "x"), {}, ((1, "x"), {})),
        (with_key, (5,), {}, ((5,), {})),
        (with_key, (5,), {"key": "mine"}, ((5,), {})),
        (unannotated, ([1],), {}, (([1],), {})),
    ],
)
def test_a_call_comes_back_as_it_went(function: Any, args: Any, kwargs: Any, bound: Any) -> None:
    shape = shape_of(function)
    assert shape.decode_arguments(shape.encode_arguments(args, kwargs)) == bound


def test_one_parameter_travels_as_its_value_several_by_name() -> None:
    assert shape_of(with_key).encode_arguments((5,), {}) == b"5"
    assert msgspec.json.decode(shape_of(several).encode_arguments((1,), {})) == {
        "number": 1,
        "text": "x",
        "frame": None,
    }
    assert shape_of(nothing).encode_arguments((), {}) == b"null"


def test_a_parameter_with_a_default_may_be_left_out_of_a_start_event() -> None:
    assert shape_of(several).decode_arguments(b'{"number": 1}') == ((), {"number": 1, "text": "x", "frame": None})


def test_what_cannot_be_encoded_is_named() -> None:
    with pytest.raises(UnfitValue, match=r"argument 'anything' of unannotated\(\) cannot be encoded"):
        shape_of(unannotated).encode_arguments((object(),), {})
    with pytest.raises(UnfitValue, match=r"argument 'text' of several\(\)"):
        shape_of(several).encode_arguments((1, object()), {})
    with pytest.raises(UnfitValue, match=r"the result of one\(\)"):
        shape_of(one).encode_result(object())


def test_a_call_that_does_not_fit_the_signature_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        shape_of(several).encode_arguments((), {})
    with pytest.raises(TypeError):
        shape_of(nothing).encode_arguments((1,), {})


@pytest.mark.parametrize("data", [b'"text"', b"{}", b'{"number": "x"}', b"not json", b"", b"\xff"])
def test_what_does_not_fit_the_annotation_is_named(data: bytes) -> None:
    with pytest.raises(UnfitValue, match=r"argument 'order' of one\(\) does not fit"):
        shape_of(one).decode_arguments(data)


def test_what_cannot_travel_is_refused_at_import() -> None:
    def many(*orders: int) -> None: ...
    def named(**orders: int) -> None: ...
    def loose(key: str = GIVEN) -> None: ...

    with pytest.raises(TypeError, match=r"\*orders cannot be recorded"):
        shape_of(many)
    with pytest.raises(TypeError, match=r"\*orders cannot be recorded"):
        shape_of(named)
    with pytest.raises(TypeError, match=r"write \*, key: … = GIVEN"):
        shape_of(loose)


# ------------------------------------------------------------------------------------------------------------- payloads


@pytest.mark.parametrize(
    ("one_", "other", "alike"),
    [
        (b'{"a":1,"b":2}', b'{ "b": 2, "a": 1 }', True),
        (b"[1, 2]", b"[2, 1]", False),
        (b"1", b"1.0", False),
        (b"no json", b"no json", True),
        (b"no json", b"1", False),
    ],
)
def test_payloads_are_the_same_when_they_mean_the_same(one_: bytes, other: bytes, alike: bool) -> None:
    assert same(Payload(data=one_), Payload(data=other)) is alike


def test_bytes_of_other_types_are_compared_as_they_are() -> None:
    one_, other = (Payload(content_type="text/plain", data=data) for data in (b"[1,2]", b"[1, 2]"))
    assert not same(one_, other)
    assert not same(Payload(data=b"1"), Payload(data=b"1", encoding="gzip"))
    assert not same(Payload(data=b"", blob="a"), Payload(data=b"", blob="b"))


def test_a_large_value_is_kept_aside_under_its_hash() -> None:
    blobs: dict[str, bytes] = {}
    assert claim_check(b"x" * INLINE_LIMIT, blobs) == Payload(data=b"x" * INLINE_LIMIT)
    assert blobs == {}
    large = b"x" * (INLINE_LIMIT + 1)
    assert claim_check(large, blobs) == Payload(data=b"", blob=name_of(large))
    assert blobs == {name_of(large): large}
