"""pydantic's own: what its annotations say is carried by pydantic, both ways, in one order."""

import dataclasses
import datetime as dt
import uuid
from typing import Annotated, Any, Generic, Literal, TypedDict, TypeVar

import msgspec
import pydantic
import pytest
from pydantic.dataclasses import dataclass as pydantic_dataclass

from holdfast.sdk.carriers import Misfit, carrier_of

T = TypeVar("T")


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, frozen=True)
    number: int
    day: dt.date


class Aliased(pydantic.BaseModel):
    number: int = pydantic.Field(validation_alias=pydantic.AliasPath("order", "number"), serialization_alias="n")
    note: str = pydantic.Field(default="", alias="theNote")


class Computed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    width: int

    @pydantic.computed_field  # type: ignore[prop-decorator]  # as pydantic's documentation says
    @property
    def area(self) -> int:
        return self.width**2


class Excluding(pydantic.BaseModel):
    shown: int
    hidden: int = pydantic.Field(default=0, exclude=True)


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")


class Texts(pydantic.BaseModel):
    payload: pydantic.Json[dict[str, int]]


class Cat(pydantic.BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(pydantic.BaseModel):
    kind: Literal["dog"] = "dog"
    lives: int = 1


class Holder(pydantic.BaseModel, Generic[T]):
    held: T


class Tree(pydantic.BaseModel):
    labels: set[str] = set()
    parts: "list[Tree]" = []


class Shelf(pydantic.RootModel[dict[str, frozenset[int]]]):
    pass


@pydantic_dataclass
class Priced:
    cents: pydantic.PositiveInt
    labels: frozenset[str] = frozenset()


@dataclasses.dataclass
class Plain:
    model: Strict
    trees: dict[str, list[Tree]]


class Struct(msgspec.Struct):
    model: Cat | Dog | None


class Keyed(TypedDict):
    model: Tree


Pet = Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]
DAY = dt.date(2026, 1, 2)
LABELS = {"red", "green", "blue", "black", "white"}
SORTED = '["black","blue","green","red","white"]'

CARRIED: list[tuple[Any, Any, str]] = [
    (Strict, Strict(number=1, day=DAY), '{"number":1,"day":"2026-01-02"}'),
    (Aliased, Aliased(order={"number": 1}, theNote="x"), '{"number":1,"note":"x"}'),  # type: ignore[call-arg]  # by aliases
    (Computed, Computed(width=2), '{"width":2}'),
    (Excluding, Excluding(shown=1, hidden=2), '{"shown":1,"hidden":2}'),
    (Open, Open(more=[1]), '{"more":[1]}'),  # type: ignore[call-arg]  # that is the test
    (Texts, Texts(payload='{"a":1}'), '{"payload":"{\\"a\\":1}"}'),  # type: ignore[arg-type]  # as pydantic reads it
    (Pet, Dog(), '{"kind":"dog","lives":1}'),
    (Cat | Dog, Dog(), '{"kind":"dog","lives":1}'),
    (Cat | str, "cat", '"cat"'),
    (Cat | dt.date | str, DAY, '{"date":"2026-01-02"}'),
    (Cat | None, None, "null"),
    (list[Pet], [Cat(), Dog()], '[{"kind":"cat","lives":9},{"kind":"dog","lives":1}]'),
    (Holder[set[str]], Holder[set[str]](held=LABELS), f'{{"held":{SORTED}}}'),
    (Holder[Holder[uuid.UUID]], Holder[Holder[uuid.UUID]](held=Holder[uuid.UUID](held=uuid.UUID(int=0))),
     '{"held":{"held":"00000000-0000-0000-0000-000000000000"}}'),
    (Tree, Tree(parts=[Tree(labels=LABELS)]), f'{{"labels":[],"parts":[{{"labels":{SORTED},"parts":[]}}]}}'),
    (Shelf, Shelf({"a": frozenset({10, 9})}), '{"a":[9,10]}'),
    (Priced, Priced(1, frozenset(LABELS)), f'{{"cents":1,"labels":{SORTED}}}'),
    (Plain, Plain(Strict(number=1, day=DAY), {"a": [Tree()]}),
     '{"model":{"number":1,"day":"2026-01-02"},"trees":{"a":[{"labels":[],"parts":[]}]}}'),
    (Struct, Struct(Dog()), '{"model":{"kind":"dog","lives":1}}'),
    (Keyed, {"model": Tree()}, '{"model":{"labels":[],"parts":[]}}'),
    (set[Strict], {Strict(number=2, day=DAY), Strict(number=1, day=DAY)},
     '[{"number":1,"day":"2026-01-02"},{"number":2,"day":"2026-01-02"}]'),
    (pydantic.PositiveInt, 1, "1"),
    (Annotated[list[int], pydantic.Field(min_length=1)], [1], "[1]"),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "value", "data"), CARRIED, ids=map(str, range(len(CARRIED))))
def test_a_value_of_pydantics_comes_back_as_it_went(annotation: Any, value: Any, data: str) -> None:
    carrier = carrier_of(annotation)
    assert carrier.encode(value).decode() == data
    back = carrier.decode(data.encode())
    assert back == value
    assert type(back) is type(value)


def test_an_input_may_use_aliases() -> None:
    assert carrier_of(Aliased).decode(b'{"order":{"number":1},"theNote":"x"}') == carrier_of(Aliased).decode(
        b'{"number":1,"note":"x"}'
    )


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (pydantic.PositiveInt, 0),
        (Annotated[list[int], pydantic.Field(min_length=1)], []),
        (Priced, "cheap"),
        (Cat, Dog()),
        (Tree, Tree.model_construct(labels="none")),
        (Holder[float], Holder[float](held=float("inf"))),
        (Holder[Any], Holder[Any](held=object())),
        (Holder[Any], Holder[Any](held={1, 2})),
        (Holder[dt.date | str], Holder[dt.date | str](held="2026-01-02")),
    ],
    ids=lambda one: repr(one).partition(" at 0x")[0],  # no address: processes share the tests out by these names
)
def test_what_pydantic_would_not_read_as_the_same_is_refused(annotation: Any, value: Any) -> None:
    with pytest.raises(Misfit):
        carrier_of(annotation).encode(value)
