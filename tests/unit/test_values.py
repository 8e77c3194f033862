"""Values of the author on their way to JSON and back."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import math
import sys
import uuid
from typing import Any, Literal

import msgspec
import pydantic
import pytest

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


# --------------------------------------------------------------------------------------------- the words of the law


class Level(enum.Enum):
    LOW = 0.1


@dataclasses.dataclass
class Card:
    number: str


@dataclasses.dataclass
class Iban:
    iban: str


@dataclasses.dataclass(frozen=True)
class Labelled:
    labels: frozenset[str]


@dataclasses.dataclass
class Taxed:
    cents: int

    def __post_init__(self) -> None:
        self.cents += 19


class Cat(pydantic.BaseModel):
    kind: Literal["cat"] = "cat"


class Dog(pydantic.BaseModel):
    kind: Literal["dog"] = "dog"


class Puppy(Dog):
    age: int = 1


class Upper(pydantic.BaseModel):
    text: str

    @pydantic.field_serializer("text")
    def shout(self, text: str) -> str:
        return text.upper()


class Cached(pydantic.BaseModel):
    number: int
    _client: object = pydantic.PrivateAttr(default_factory=object)


def written(kind: Any, value: Any) -> bytes:
    return encode(value, "it", decoder(kind))


@pytest.mark.parametrize(
    ("kind", "value", "data"),
    [
        (set[str], {"c", "a", "b"}, b'["a","b","c"]'),
        (set[int], {10, 9, -1}, b"[-1,9,10]"),
        (Labelled, Labelled(frozenset({"b", "a"})), b'{"labels":["a","b"]}'),
        (dict[str, int], {"b": 1, "a": 2}, b'{"b":1,"a":2}'),
        (dt.date | str, NOW.date(), b'{"date":"2026-01-02"}'),
        (dt.date | str, "2026-01-02", b'"2026-01-02"'),
        (Card | Iban, Iban("DE00"), b'{"Iban":{"iban":"DE00"}}'),
        (Card | None, Card("1"), b'{"number":"1"}'),
        (Level, Level.LOW, b'"LOW"'),
        (Colour, Colour.RED, b'"red"'),
        (Cat | Dog, Dog(), b'{"kind":"dog"}'),
        (int, True, b"1"),
        (float, 1, b"1"),
        (dict[tuple[int, int], str], {(1, 2): "x"}, b'[[[1,2],"x"]]'),
        (collections.deque[float], collections.deque([0.5]), b"[0.5]"),
        (tuple[float, ...], (), b"[]"),
        (list[bool | float], [True, 1.5], b"[true,1.5]"),
    ],
)
def test_a_value_is_written_just_so(kind: Any, value: Any, data: bytes) -> None:
    assert written(kind, value) == data
    assert decode(decoder(kind), data, "it") == value


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        (float, math.nan, r"nan is not carried"),
        (float | None, math.inf, r"inf is not carried"),
        (dict[str, list[float]], {"low": [0.0, -math.inf]}, r"-inf is not carried.*`\$\['low'\]\[1\]`"),
        (Any, {"a": [math.nan]}, r"nan is not carried.*`\$\.a\[0\]`"),
        (Lens, Lens(math.nan), r"nan is not carried.*`\$\.power`"),
        (int, "7", r"str where int is annotated"),
        (None, 7, r"int where None is annotated"),
        (list[str], ["a", 1], r"int where str is annotated.*`\$\[1\]`"),
        (list[int], (1, 2), r"tuple where list\[int\] is annotated"),
        (Frame, Frame("A", "big"), r"str where int is annotated.*`\$\.size`"),  # type: ignore[arg-type]  # that is the test
        (Frame, Lens(1.0), r"Lens where Frame is annotated"),
        (Dog, Puppy(), r"would not come back as it is"),
        (Upper, Upper(text="a"), r"would not come back as it is"),
        (Taxed, Taxed(1), r"would not come back as it is"),
        (str, "\ud800", r"surrogates not allowed"),
        (Any, NOW, r"datetime where no annotation says so"),
        (Any, {1: "a"}, r"a key of int"),
        (dt.date, NOW, r"datetime where date is annotated"),
        (dt.datetime, NOW.replace(tzinfo=dt.timezone(dt.timedelta(seconds=1))), r"has seconds"),
        (float, 2**60 + 1, r"is no float"),
    ],
    ids=repr,
)
def test_what_would_come_back_as_something_else_is_refused_before_it_is_recorded(
    kind: Any, value: Any, why: str
) -> None:
    with pytest.raises(UnfitValue, match=f"it cannot be encoded: .*{why}"):
        written(kind, value)


def test_infinities_of_a_model_are_refused_whatever_its_settings() -> None:
    class Score(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(ser_json_inf_nan="strings")
        value: dict[str, float | None]

    with pytest.raises(UnfitValue, match=r"inf is not carried.*`\$\.value\.a`"):
        written(Score, Score(value={"a": math.inf}))


def test_private_attributes_of_a_model_are_not_part_of_its_value() -> None:
    carrier = decoder(Cached)
    assert decode(carrier, encode(Cached(number=1), "it", carrier), "it").number == 1


def test_what_an_authors_class_raises_is_told_as_its_value() -> None:
    @dataclasses.dataclass
    class Angry:
        text: str

        def __post_init__(self) -> None:
            if self.text == "go":
                sys.exit("gone")

    with pytest.raises(UnfitValue, match="it does not fit: gone"):
        decode(decoder(Angry), b'{"text":"go"}', "it")


@dataclasses.dataclass
class Link:
    ends: bool | int
    labels: frozenset[str]
    next: "list[Link]"


def test_a_deep_value_is_looked_at_once() -> None:
    """Twice at each level would be for ever."""
    link = Link(True, frozenset(), [])
    for _ in range(100):
        link = Link(1, frozenset({"b", "a"}), [link])
    assert decode(decoder(Link), written(Link, link), "it") == link
    with pytest.raises(UnfitValue, match=r"str where bool \| int is annotated"):
        written(Link, Link(1, frozenset(), [Link("x", frozenset(), [])]))  # type: ignore[arg-type]  # that is the test


def test_a_value_that_holds_itself_is_refused() -> None:
    link = Link(1, frozenset(), [])
    link.next.append(link)
    with pytest.raises(UnfitValue, match="recursion"):
        written(Link, link)


OF_312 = """
import dataclasses
type Json = dict[str, Json] | list[Json] | str | int | None
type Pair[A, B] = tuple[A, B]
@dataclasses.dataclass
class Crate[T]:
    item: T
@dataclasses.dataclass
class Full(Crate[set[str]]):
    more: int = 0
def pack[T: int](one: Json, two: Pair[int, str], three: Crate[Json], four: T, five: Full) -> "Crate[Full]": ...
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters are of 3.12")
def test_aliases_and_type_parameters_are_read() -> None:
    given: dict[str, Any] = {"__name__": __name__}
    exec(OF_312, given)  # noqa: S102 - 3.11 cannot read it
    shape = shape_of(given["pack"])
    crate, full = given["Crate"], given["Full"]
    args = ({"a": [1, None, {"b": "x"}]}, (1, "a"), crate([1]), 4, full({"b", "a"}))
    data = shape.encode_arguments(args, {})
    names = ("one", "two", "three", "four", "five")
    assert shape.decode_arguments(data) == ((), dict(zip(names, args, strict=True)))
    assert shape.encode_result(crate(full({"b", "a"}))) == b'{"item":{"item":["a","b"],"more":0}}'


class Instant(dt.datetime):
    pass


class Day(dt.date):
    pass


class Span(dt.timedelta):
    pass


class Price(decimal.Decimal):
    __slots__ = ()


class Token(bytes):
    __slots__ = ()


class Key(uuid.UUID):
    __slots__ = ()


class Rank(enum.IntEnum):
    FIRST = 1


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (dt.datetime, Instant(2026, 1, 2, 3, 4, 5, 678, dt.UTC)),
        (dt.date, Day(2026, 1, 2)),
        (dt.timedelta, Span(days=1, microseconds=5)),
        (decimal.Decimal, Price("1.10")),
        (bytes, Token(b"x")),
        (uuid.UUID, Key(int=5)),
        (int, Rank.FIRST),
        (dict[str, int], collections.Counter("a")),
        (list[dt.date], [Day(2026, 1, 2)]),
    ],
    ids=repr,
)
def test_a_subclass_of_a_plain_type_comes_back_as_the_plain_type(kind: Any, value: Any) -> None:
    assert decode(decoder(kind), written(kind, value), "it") == value


def test_a_value_that_nobody_annotated_is_written_by_its_own_class() -> None:
    assert encode([{"at": NOW.date(), "of": Card("1")}, {"b", "a"}, 1.5], "the input") == (
        b'[{"at":"2026-01-02","of":{"number":"1"}},["a","b"],1.5]'
    )
    assert encode(Order(number=1), "the input") == b'{"number":1,"notes":[]}'
    with pytest.raises(UnfitValue, match="nan is not carried"):
        encode({"a": [math.nan]}, "the input")
