"""What cannot be carried is refused when it is defined, with function, parameter, file, line and what to write."""

import collections
import dataclasses
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypedDict

import msgspec
import pydantic
import pytest

from holdfast.sdk.carriers import Unsupported, carrier_of
from holdfast.sdk.shape import Shape


@dataclasses.dataclass
class Initial:
    text: str
    seed: dataclasses.InitVar[int] = 1


@dataclasses.dataclass
class Holder:
    inner: complex


class Struct(msgspec.Struct):
    inner: list[Callable[[], int]]


class Likes(Protocol):
    name: str


class Plain:
    def __init__(self, name: str) -> None:
        self.name = name


class MyList(list[int]):
    pass


class Secret(pydantic.BaseModel):
    password: pydantic.SecretStr


class Deep(pydantic.BaseModel):
    secrets: dict[str, list[Secret]]


class Arbitrary(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    plain: Plain


class Hook(pydantic.BaseModel):
    act: Callable[[], int]


class Keys(TypedDict):
    one: range


@dataclasses.dataclass
class Card:
    number: str


Twin = dataclasses.make_dataclass("Card", [("text", str)])

REFUSED: list[tuple[Any, str]] = [
    (complex, "two floats"),
    (range, "start, stop and step"),
    (Callable[[int], int], "function"),
    (type, "class"),
    (type[int], "class"),
    (Iterator[int], "pass a list"),
    (Generator[int, None, None], "pass a list"),
    (AsyncIterator[int], "pass a list"),
    (Awaitable[int], "what waits for it"),
    (collections.defaultdict[str, int], "annotate dict"),
    (collections.ChainMap[str, int], "annotate dict"),
    (tuple[int, *tuple[str, ...]], "a tuple of its own"),
    (Initial, "InitVar"),
    (list[Initial], "InitVar"),
    (Holder, "Holder.inner: complex"),
    (Struct, "Struct.inner: Callable"),
    (Keys, "Keys.one: range"),
    (Likes, "protocol"),
    (Plain, "make it a dataclass"),
    (MyList, "plain container"),
    (ValueError, "make it a dataclass"),
    (NoReturn, "no such values"),
    (list[int] | list[str], "nothing tells"),
    (dict[str, int] | dict[str, str], "nothing tells"),
    (pydantic.SecretStr, "recorded readable"),
    (pydantic.SecretBytes | None, "recorded readable"),
    (Secret, "recorded readable"),
    (Deep, "recorded readable"),
    (pydantic.Secret[int], "recorded readable"),
    (Arbitrary, "a class that pydantic does not know"),
    (Hook, "callable"),
    (dict[str, int] | Any | range, "range"),
]


@pytest.mark.parametrize(("annotation", "why"), REFUSED, ids=map(str, range(len(REFUSED))))
def test_what_cannot_be_carried_is_refused_with_the_reason(annotation: Any, why: str) -> None:
    with pytest.raises(Unsupported, match=why):
        carrier_of(annotation)


def test_the_refusal_names_function_parameter_file_and_line() -> None:
    def compare(left: int, right: complex) -> bool: ...  # type: ignore[empty-body]  # only its signature counts

    with pytest.raises(TypeError) as refused:
        Shape(compare).check()
    assert "compare" in str(refused.value)
    assert f"test_refused_annotations.py:{compare.__code__.co_firstlineno}" in str(refused.value)
    assert "parameter 'right'" in str(refused.value)
    assert "pass two floats" in str(refused.value)


def test_a_refused_result_is_told_as_one() -> None:
    def stream() -> Iterator[int]: ...  # type: ignore[empty-body]  # only its signature counts

    with pytest.raises(TypeError, match="return annotation"):
        Shape(stream).check()


def test_two_classes_of_one_name_are_not_told_apart() -> None:
    with pytest.raises(Unsupported, match="nothing tells them apart"):
        carrier_of(Card | Twin)


def application(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Import an application as the command line does."""
    (folder / "shop.py").write_text(textwrap.dedent(text))
    load = "from holdfast.cli.apps import load_app; load_app('shop.py')"
    return subprocess.run(
        [sys.executable, "-c", load], cwd=folder, capture_output=True, text=True, check=False, timeout=50
    )


def test_names_that_are_defined_later_in_the_module_are_no_mistake(tmp_path: Path) -> None:
    ran = application(
        tmp_path,
        """
        from __future__ import annotations
        import dataclasses
        import pydantic
        from holdfast import step, workflow

        @step
        async def price(order: Order) -> list[Line]: ...

        @workflow
        async def sell(order: "Order | None" = None) -> int: ...

        class Form(pydantic.BaseModel):
            fields: list[Entry]

        @step
        async def read(form: Form) -> Form: ...

        class Entry(pydantic.BaseModel):
            text: str

        @dataclasses.dataclass
        class Order:
            lines: list[Line]

        @dataclasses.dataclass
        class Line:
            text: str
            next: Line | None = None
        """,
    )
    assert ran.returncode == 0, ran.stderr


def test_names_for_type_checkers_alone_are_refused_with_the_remedy(tmp_path: Path) -> None:
    ran = application(
        tmp_path,
        """
        from __future__ import annotations
        from typing import TYPE_CHECKING
        from holdfast import GIVEN, effect, step
        if TYPE_CHECKING:
            from decimal import Decimal
            from psycopg import AsyncConnection

        @effect(guard="transaction", database="shop")
        async def book(cents: int, *, connection: AsyncConnection = GIVEN) -> int: ...

        @step
        async def price(order: int, discount: Decimal) -> int: ...
        """,
    )
    assert ran.returncode != 0
    assert "price (shop.py:12)" in ran.stderr
    assert "parameter 'discount'" in ran.stderr
    assert "name 'Decimal' is not defined" in ran.stderr
    assert "import it at run time" in ran.stderr


def test_a_lookup_effect_that_nobody_can_look_up_is_refused_once_all_is_imported(tmp_path: Path) -> None:
    ran = application(
        tmp_path,
        """
        from holdfast import effect

        @effect(guard="lookup", lifetime=30)
        async def ship(order: int) -> str: ...
        """,
    )
    assert ran.returncode != 0
    assert "@ship.lookup" in ran.stderr


def test_what_pydantic_does_not_load_is_carried_without_it(tmp_path: Path) -> None:
    ran = application(
        tmp_path,
        """
        import dataclasses, sys
        from holdfast import step

        @dataclasses.dataclass
        class Order:
            labels: set[str]

        @step
        async def price(order: Order | None) -> dict[int, Order]: ...

        assert "pydantic" not in sys.modules
        """,
    )
    assert ran.returncode == 0, ran.stderr
