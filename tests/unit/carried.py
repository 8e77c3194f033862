"""Annotations that are carried, with values of them: nested as deep as one likes, by names that any process knows."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import ipaddress
import pathlib
import uuid
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from types import GenericAlias
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar

import attrs
import msgspec
import pydantic
from hypothesis import strategies as st

T = TypeVar("T")
Spec = tuple[Any, ...]
"""The name of an annotation, with those of its parts."""


class Colour(enum.StrEnum):
    RED = "red"
    GREEN = "green"


class Level(enum.Enum):
    LOW = 0.1
    HIGH = 0.9


class Mixed(enum.Enum):
    ONE = 1
    TWO = "two"
    PAIR = (1, 2)


class Rank(enum.IntEnum):
    FIRST = 1
    SECOND = 2


class Right(enum.Flag):
    READ = 1
    WRITE = 2
    RUN = 4


class Code(str):
    __slots__ = ()


OrderId = NewType("OrderId", str)


@dataclasses.dataclass(frozen=True)
class Box(Generic[T]):
    item: T
    more: tuple[T, ...] = ()


@dataclasses.dataclass
class Other:
    text: str


class Crate(msgspec.Struct, Generic[T], frozen=True, rename="camel", omit_defaults=True):
    first_item: T
    labels: frozenset[str] = frozenset()


@attrs.frozen
class Parcel(Generic[T]):
    _inside: T
    labels: frozenset[str] = frozenset()


class Pair(NamedTuple, Generic[T]):
    one: T
    labels: frozenset[str]


class Row(TypedDict, Generic[T], total=False):
    cell: T
    labels: set[str]


class Form(pydantic.BaseModel, Generic[T]):
    model_config = pydantic.ConfigDict(extra="forbid")
    field: T = pydantic.Field(alias="theField")
    labels: set[str] = set()
    hidden: int = pydantic.Field(default=0, exclude=True)

    @pydantic.computed_field  # type: ignore[prop-decorator]  # as pydantic's documentation says
    @property
    def number_of_labels(self) -> int:
        return len(self.labels)


def form(field: Any, labels: set[str], hidden: int, of: Any) -> Any:
    return of(theField=field, labels=labels, hidden=hidden)


def unfolded(value: Any) -> Any:
    return value.replace(fold=0)


LABELS = st.frozensets(st.text("abcdefgh", min_size=1, max_size=3), max_size=4)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
MINUTES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT | st.floats(allow_nan=False, allow_infinity=False),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(TEXT, parts, max_size=3),
    max_leaves=5,
)

LEAVES: Mapping[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "None": (None, st.none()),
    "bool": (bool, st.booleans()),
    "int": (int, st.integers()),
    "float": (float, st.floats(allow_nan=False, allow_infinity=False)),
    "str": (str, TEXT),
    "bytes": (bytes, st.binary(max_size=6)),
    "datetime": (dt.datetime, st.datetimes(timezones=st.none() | st.just(dt.UTC) | MINUTES).map(unfolded)),
    "date": (dt.date, st.dates()),
    "time": (dt.time, st.times().map(unfolded)),
    "timedelta": (dt.timedelta, st.timedeltas()),
    "uuid": (uuid.UUID, st.uuids()),
    "decimal": (decimal.Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    "path": (pathlib.Path, st.sampled_from([".", "/tmp", "a/b c"]).map(pathlib.Path)),
    "pure": (pathlib.PureWindowsPath, st.just(pathlib.PureWindowsPath("c:\\x"))),
    "ip4": (ipaddress.IPv4Address, st.ip_addresses(v=4)),
    "ip6": (ipaddress.IPv6Address, st.ip_addresses(v=6)),
    "net": (ipaddress.IPv4Network, st.just(ipaddress.IPv4Network("10.0.0.0/8"))),
    "zone": (zoneinfo.ZoneInfo, st.sampled_from(["UTC", "Europe/Berlin"]).map(zoneinfo.ZoneInfo)),
    "colour": (Colour, st.sampled_from(Colour)),
    "level": (Level, st.sampled_from(Level)),
    "mixed": (Mixed, st.sampled_from(Mixed)),
    "rank": (Rank, st.sampled_from(Rank)),
    "right": (Right, st.integers(0, 7).map(Right)),
    "literal": (Literal["a", True], st.sampled_from(["a", True])),
    "members": (Literal[Level.LOW, "x"], st.sampled_from([Level.LOW, "x"])),
    "code": (Code, TEXT.map(Code)),
    "new": (OrderId, TEXT),
    "card": (Other, st.builds(Other, text=TEXT)),
    "positive": (pydantic.PositiveInt, st.integers(1, 9)),
    "meta": (Annotated[int, msgspec.Meta(ge=1)], st.integers(1, 9)),
    "any": (Any, JSON),
}
UNHASHABLE = {"card", "any", "zone"}
FRIENDLY = ("bool", "int", "str", "float", "date", "uuid", "colour")
"""Leaves that pydantic tells apart from each other, and names in objects."""


def _counter(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(parts, st.integers(), max_size=3).map(collections.Counter)


def _row(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional={"cell": parts, "labels": LABELS.map(set)})


Make = Callable[[Any], Any]


def of(generic: Any) -> Make:
    """Give what makes annotations of a generic class."""
    return lambda annotation: generic[annotation]


NESTS: Mapping[str, tuple[Make, Callable[[st.SearchStrategy[Any]], st.SearchStrategy[Any]]]] = {
    "list": (lambda a: GenericAlias(list, (a,)), lambda s: st.lists(s, max_size=3)),
    "sequence": (of(Sequence), lambda s: st.lists(s, max_size=3)),
    "deque": (of(collections.deque), lambda s: st.lists(s, max_size=3).map(collections.deque)),
    "tuple": (lambda a: GenericAlias(tuple, (a, ...)), lambda s: st.lists(s, max_size=3).map(tuple)),
    "pair": (lambda a: GenericAlias(tuple, (a, int)), lambda s: st.tuples(s, st.integers())),
    "dict": (lambda a: GenericAlias(dict, (str, a)), lambda s: st.dictionaries(TEXT, s, max_size=3)),
    "mapping": (lambda a: GenericAlias(Mapping, (int, a)), lambda s: st.dictionaries(st.integers(), s, max_size=3)),
    "ordered": (
        lambda a: GenericAlias(collections.OrderedDict, (str, a)),
        lambda s: st.dictionaries(TEXT, s, max_size=3).map(collections.OrderedDict),
    ),
    "optional": (lambda a: a | None if a is not None else None, lambda s: st.none() | s),
    "box": (of(Box), lambda s: st.builds(Box, item=s, more=st.lists(s, max_size=2).map(tuple))),
    "crate": (of(Crate), lambda s: st.builds(Crate, s, LABELS)),
    "parcel": (of(Parcel), lambda s: st.builds(Parcel, s, LABELS)),
    "named": (of(Pair), lambda s: st.builds(Pair, s, LABELS)),
    "row": (of(Row), _row),
}
OF_HASHABLES: Mapping[str, tuple[Make, Callable[[st.SearchStrategy[Any]], st.SearchStrategy[Any]]]] = {
    "set": (lambda a: GenericAlias(set, (a,)), lambda s: st.sets(s, max_size=4)),
    "frozenset": (lambda a: GenericAlias(frozenset, (a,)), lambda s: st.frozensets(s, max_size=4)),
    "counter": (of(collections.Counter), _counter),
    "keys": (lambda a: GenericAlias(dict, (a, int)), lambda s: st.dictionaries(s, st.integers(), max_size=3)),
}
HASHABLE_NESTS = ("tuple", "pair", "optional", "box", "crate", "parcel", "named", "frozenset")


def is_hashable(spec: Spec) -> bool:
    name, *parts = spec
    if name in LEAVES:
        return name not in UNHASHABLE
    return name in HASHABLE_NESTS and all(map(is_hashable, parts))


def annotation_of(spec: Spec) -> Any:
    name, *parts = spec
    if name in LEAVES:
        return LEAVES[name][0]
    if name == "form":
        return of(Form)(annotation_of(parts[0]))
    if name == "union":
        first, *others = map(annotation_of, parts)
        for other in others:
            first = first | other
        return first
    make, _ = NESTS.get(name) or OF_HASHABLES[name]
    return make(annotation_of(parts[0]))


def values_of(spec: Spec) -> st.SearchStrategy[Any]:
    name, *parts = spec
    if name in LEAVES:
        return LEAVES[name][1]
    if name == "form":
        return st.builds(form, values_of(parts[0]), LABELS.map(set), st.integers(0, 3), st.just(annotation_of(spec)))
    if name == "union":
        return st.one_of(*map(values_of, parts))
    _, build = NESTS.get(name) or OF_HASHABLES[name]
    return build(values_of(parts[0]))


UNIONS = (
    ("str", "date", "datetime"),
    ("str", "uuid", "int"),
    ("bytes", "decimal", "float"),
    ("card", "path", "str"),
    ("int", "rank", "level"),
    ("colour", "str", "bool"),
)


def _forms(depth: int) -> st.SearchStrategy[Spec]:
    leaves = st.sampled_from(FRIENDLY).map(lambda name: (name,))
    if not depth:
        return leaves
    nested = st.tuples(st.sampled_from(["list", "set", "frozenset", "optional"]), leaves)
    return st.tuples(st.just("form"), leaves | nested)


def specs(depth: int = 3) -> st.SearchStrategy[Spec]:
    """Give annotations of any kind, nested up to `depth` times."""
    leaves = st.sampled_from(sorted(LEAVES)).map(lambda name: (name,))
    unions = st.sampled_from(UNIONS).map(lambda names: ("union", *((name,) for name in names)))
    if not depth:
        return leaves
    deeper = specs(depth - 1)
    nested = st.tuples(st.sampled_from(sorted(NESTS)), deeper).filter(_is_one_union)
    hashed = st.tuples(st.sampled_from(sorted(OF_HASHABLES)), deeper.filter(is_hashable))
    return leaves | unions | nested | hashed | _forms(depth)


def _is_one_union(spec: Spec) -> bool:
    """`X | None` of a union, or of what has None already, is another annotation."""
    return spec[0] != "optional" or spec[1][0] not in {"union", "optional", "None", "literal", "any"}
