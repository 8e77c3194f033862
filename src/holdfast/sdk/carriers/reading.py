"""From an annotation to what carries its values.

Laws of this file:
- An annotation is either carried, both ways, or refused here: not when the first value comes.
- A name that is not there yet is a NameError: the module may still be being imported.
"""

import collections
import copy
import dataclasses
import enum
import functools
import typing
from collections import abc
from collections.abc import Callable
from types import FunctionType, GenericAlias, UnionType
from typing import Annotated, Any, Final, ForwardRef, TypeVar, get_args, get_origin

import msgspec

from holdfast.sdk.carriers.choices import Choice, of_enum
from holdfast.sdk.carriers.containers import Fixed, Keyed, Many, Pairs, Table
from holdfast.sdk.carriers.generics import alias_value, fields_of, substituted
from holdfast.sdk.carriers.models import Model, is_of_pydantic
from holdfast.sdk.carriers.node import ANYTHING, FLOAT, INT, STR, Node, Unsupported, called
from holdfast.sdk.carriers.records import Field, Own, Record, Structure
from holdfast.sdk.carriers.scalars import FREE, NOTHING, SCALARS, Scalar, Sub
from holdfast.sdk.carriers.unions import UNSET, union_of

_LISTS: Final[dict[Any, tuple[type, ...]]] = {
    list: (list,),
    abc.Collection: (list, tuple),
    abc.Iterable: (list, tuple),
    abc.MutableSequence: (list,),
    abc.Reversible: (list, tuple),
    abc.Sequence: (list, tuple),
}
_SETS: Final[dict[Any, tuple[type, ...]]] = {
    set: (set,),
    frozenset: (frozenset,),
    abc.Set: (set, frozenset),
    abc.MutableSet: (set,),
}
_TABLES: Final[dict[Any, tuple[type, ...]]] = {
    dict: (dict,),
    abc.Mapping: (dict,),
    abc.MutableMapping: (dict,),
    collections.OrderedDict: (collections.OrderedDict,),
    collections.Counter: (collections.Counter,),
}
_UNWRAPPED: Final = frozenset({"Final", "Required", "NotRequired", "ReadOnly"})
_REMEDIES: Final[dict[Any, str]] = {
    abc.Callable: "a function cannot be recorded; pass what it needs, or name it in a text",
    abc.Iterator: "it can be read once only; pass a list",
    abc.Generator: "it can be read once only; pass a list",
    abc.AsyncIterator: "it can be read once only; pass a list",
    abc.AsyncIterable: "it can be read once only; pass a list",
    abc.Awaitable: "a result can be recorded, not what waits for it",
    collections.defaultdict: "its default_factory cannot be recorded; annotate dict",
    collections.ChainMap: "annotate dict",
    complex: "JSON has no such number; pass two floats",
    range: "pass its start, stop and step",
    slice: "pass its start, stop and step",
    type: "a class cannot be recorded; name it in a text",
    FunctionType: "a function cannot be recorded; pass what it needs, or name it in a text",
}
_IMPOSSIBLE: Final = (typing.NoReturn, typing.Never)


class Reader:
    """Reads one annotation, with all that it leads to.

    `verify` says afterwards that classes on the way have hooks or constraints of their own, so that only reading a
    value tells whether it comes back.
    """

    def __init__(self, *, pessimistic: bool = False) -> None:
        self.verify = False
        self.assumed: set[Any] = set()
        self._pessimistic = pessimistic
        self._known: dict[Any, Node] = {}

    def read(self, kind: Any) -> Node:
        """Give what carries an annotation.

        Raises:
            Unsupported: says why not, and what to write instead.
            NameError: a name in it is not there (yet).
        """
        scalar = _scalar(kind)
        if scalar is not None:
            return scalar
        if is_of_pydantic(kind):
            return Model(kind)
        return self._form(kind) or self._class(kind, _CLASS_OF.get(kind, get_origin(kind) or kind), get_args(kind))

    # -- forms of typing

    def _form(self, kind: Any) -> Node | None:
        """Read what is not a class: unions, literals, aliases, type parameters, and words around an annotation."""
        origin, args = get_origin(kind), get_args(kind)
        if origin is Annotated:
            return self._annotated(kind, args[0])
        if origin is typing.Union or origin is UnionType:
            return self._union(kind, args)
        if origin is typing.Literal:
            return self._literal(args)
        if hasattr(origin or kind, "__value__"):
            return self._once(kind, lambda: self.read(alias_value(kind)))
        meant = _meaning(kind, origin, args)
        if meant is not None:
            return self.read(meant)
        if kind in _IMPOSSIBLE:
            raise Unsupported("there are no such values: leave it out, or annotate what it gives")
        return None

    def _annotated(self, kind: Any, inner: Any) -> Node:
        notes = [note for note in kind.__metadata__ if isinstance(note, msgspec.Meta)]
        node = self.read(inner)
        if not notes:
            return node
        self.verify = True
        if node.kind is None:
            raise Unsupported("msgspec.Meta constrains only what msgspec reads by itself")
        node = copy.copy(node)
        node.kind = Annotated[(node.kind, *notes)]
        return node

    def _union(self, kind: Any, args: tuple[Any, ...]) -> Node:
        theirs = [arg for arg in args if is_of_pydantic(arg)]
        nodes: list[Node] = [self.read(arg) for arg in args if arg not in theirs]
        if theirs:
            model = Model(functools.reduce(lambda one, other: one | other, theirs))
            if model.wire == ANYTHING or (nodes and all(isinstance(node, Model) or node is NOTHING for node in nodes)):
                return Model(kind)
            nodes.append(model)
        return union_of(nodes)

    def _literal(self, args: tuple[Any, ...]) -> Node:
        choice = Choice(args)
        if choice.ambiguous:
            raise Unsupported("two of its values travel as one")
        return choice

    # -- classes

    def _class(self, kind: Any, cls: Any, args: tuple[Any, ...]) -> Node:
        if cls in _REMEDIES:
            raise Unsupported(f"{called(cls)} is not carried: {_REMEDIES[cls]}")
        if cls in _LISTS or cls in _SETS or cls is collections.deque:
            return self._many(kind, cls, args)
        if cls in _TABLES:
            return self._table(kind, cls, args)
        if cls is tuple:
            return self._tuple(args)
        if not isinstance(cls, type):
            raise Unsupported(f"{kind!r} is no class whose values can be carried")
        if issubclass(cls, enum.Enum):
            return of_enum(cls)
        make = self._record_of(kind, cls)
        if make is not None:
            return self._once(kind, make)
        for base in (str, int, float, bytes):
            if issubclass(cls, base) and not getattr(cls, "__abstractmethods__", None):
                self.verify = True
                return Sub(cls, base, SCALARS[base])
        raise Unsupported(f"{called(cls)} is not carried: {_why_not(cls)}")

    def _record_of(self, kind: Any, cls: type) -> Callable[[], Node] | None:
        if issubclass(cls, msgspec.Struct):
            return lambda: self._struct(kind, cls)
        if issubclass(cls, dict) and hasattr(cls, "__required_keys__"):
            return lambda: self._typed_dict(kind, cls)
        if issubclass(cls, tuple) and hasattr(cls, "_fields"):
            return lambda: self._named_tuple(kind, cls)
        if dataclasses.is_dataclass(cls):
            return lambda: self._dataclass(kind, cls)
        if hasattr(cls, "__attrs_attrs__"):
            return lambda: self._attrs(kind, cls)
        if callable(getattr(cls, "model_validate", None)):
            return lambda: Own(cls)
        return None

    def _once(self, kind: Any, make: Callable[[], Node]) -> Node:
        """Read a class once; where it leads back to itself, by what will carry it."""
        known = self._known.get(kind)
        if known is not None:
            if isinstance(known, Back):
                self.assumed.add(kind)
            return known
        back = self._known[kind] = Back(kind, native=not self._pessimistic)
        node = back.node = self._known[kind] = make()
        if kind in self.assumed and node.kind is None and back.kind is not None:
            raise Assumed
        return node

    def _many(self, kind: Any, cls: Any, args: tuple[Any, ...]) -> Node:
        item = self.read(args[0]) if args else FREE
        if isinstance(item, Model) and cls in {list, abc.Sequence}:
            return Model(GenericAlias(list, (item.annotation,)))
        types = _LISTS.get(cls) or _SETS.get(cls) or (collections.deque,)
        native = (
            None if item.kind is None or cls is collections.deque else GenericAlias(_NATIVE[types[0]], (item.kind,))
        )
        make = types[0]
        name = f"{called(cls).lower() if cls in _NATIVE else called(cls)}[{item.name}]"
        return Many(name, item, types=types, kind=native, from_list=make)

    def _table(self, kind: Any, cls: Any, args: tuple[Any, ...]) -> Node:
        types = _TABLES[cls]
        if cls is collections.Counter:
            args = (*(args or (Any,)), int)
        key, value = (self.read(arg) for arg in args) if args else (FREE, FREE)
        if key is FREE:
            key = SCALARS[str]
        name = f"{called(cls)}[{key.name}, {value.name}]"
        if not (key.wire == {STR} or (key.kind is not None and key.wire in ({INT}, {INT, FLOAT}))):
            return Pairs(name, key, value, of=types[0], types=types)
        if isinstance(value, Model) and cls is dict and key is SCALARS[str]:
            return Model(GenericAlias(dict, (str, value.annotation)))
        is_native = key.kind is not None and value.kind is not None and types == (dict,)
        native = GenericAlias(dict, (key.kind, value.kind)) if is_native else None
        return Table(name, key, value, of=types[0], types=types, kind=native)

    def _tuple(self, args: tuple[Any, ...]) -> Node:
        if not args or (len(args) == 2 and args[1] is Ellipsis):  # noqa: PLR2004 - tuple[X, ...]
            item = self.read(args[0]) if args else FREE
            native = None if item.kind is None else GenericAlias(tuple, (item.kind, ...))
            return Many(f"tuple[{item.name}, ...]", item, types=(tuple,), kind=native, from_list=tuple)
        if any(getattr(arg, "__unpacked__", False) or get_origin(arg) is typing.Unpack for arg in args):
            raise Unsupported(
                "a tuple with a part of any length in it is not carried: make that part a tuple of its own"
            )
        items = tuple([self.read(arg) for arg in args if arg != ()])
        native = GenericAlias(tuple, tuple(item.kind for item in items)) if _native(items) else None
        return Fixed(f"tuple[{', '.join(item.name for item in items)}]", items, native)

    # -- records

    def _nodes(self, kind: Any, cls: type) -> dict[str, Node]:
        nodes = {}
        for name, hint in fields_of(kind, cls).items():
            try:
                nodes[name] = self.read(hint)
            except Unsupported as error:
                raise Unsupported(f"{called(cls)}.{name}: {error}") from error
        return nodes

    def _struct(self, kind: Any, cls: Any) -> Node:
        nodes = self._nodes(kind, cls)
        self.verify |= hasattr(cls, "__post_init__")
        return Structure(cls, nodes, kind=kind if _native(nodes[name] for name in cls.__struct_fields__) else None)

    def _dataclass(self, kind: Any, cls: Any) -> Node:
        if any(each._field_type is _INIT_VAR for each in cls.__dataclass_fields__.values()):  # noqa: SLF001 - dataclasses' own mark
            raise Unsupported(
                f"{called(cls)} is not carried: what its InitVar gave is gone when it is recorded; make it a field"
            )
        nodes = self._nodes(kind, cls)
        self.verify |= hasattr(cls, "__post_init__")
        fields = [
            Field(each.name, each.name, nodes[each.name], _default(each, dataclasses.MISSING), each.init)
            for each in dataclasses.fields(cls)
        ]
        native = kind if _native(field.node for field in fields) else None
        return Record(cls, fields, kind=native, hook="__post_init__")

    def _attrs(self, kind: Any, cls: Any) -> Node:
        nodes = self._nodes(kind, cls)
        self.verify |= hasattr(cls, "__attrs_post_init__") or any(
            each.converter or each.validator for each in cls.__attrs_attrs__
        )
        fields = [
            Field(each.name, each.name, nodes.get(each.name, FREE), _attrs_default(each), each.init)
            for each in cls.__attrs_attrs__
        ]
        # msgspec leaves private attributes out when it writes.
        is_native = _native(field.node for field in fields) and not any(field.name[0] == "_" for field in fields)
        return Record(cls, fields, kind=kind if is_native else None, hook="__attrs_post_init__")

    def _typed_dict(self, kind: Any, cls: Any) -> Node:
        nodes = self._nodes(kind, cls)
        return Keyed(cls, nodes, frozenset(cls.__required_keys__), kind if _native(nodes.values()) else None)

    def _named_tuple(self, kind: Any, cls: Any) -> Node:
        nodes = self._nodes(kind, cls)
        items = tuple(nodes.get(name, FREE) for name in cls._fields)
        return Fixed(called(cls), items, kind if _native(items) else None, of=cls)


class Assumed(Exception):
    """A class that leads back to itself is not msgspec's after all: read it once more, without assuming so."""


class Back(Node):
    """Where a class leads back to itself."""

    __slots__ = ("node",)

    def __init__(self, kind: Any, *, native: bool) -> None:
        cls = get_origin(kind) or kind
        is_class = isinstance(cls, type)  # an alias that leads back to itself is beyond msgspec
        name = getattr(kind, "__name__", str(kind))
        super().__init__(name, types=(), wire=ANYTHING, kind=kind if native and is_class else None)
        self.node: Node | None = None
        if is_class:
            self.types = (dict,) if hasattr(cls, "__required_keys__") else (cls,)
            is_array = issubclass(cls, tuple) or getattr(getattr(cls, "__struct_config__", None), "array_like", False)
            self.wire = frozenset({"array" if is_array else "object"})

    def dump(self, value: Any) -> Any:
        assert self.node is not None  # noqa: S101 - set before the first value comes
        return self.node.dump(value)

    def load(self, plain: Any) -> Any:
        assert self.node is not None  # noqa: S101 - as above
        return self.node.load(plain)


_INIT_VAR: Final = dataclasses._FIELD_INITVAR  # type: ignore[attr-defined]  # noqa: SLF001 - no public word for it
_CLASS_OF: Final[dict[Any, Any]] = {
    typing.Callable: abc.Callable,
    typing.Iterable: abc.Iterable,
    typing.List: list,  # noqa: UP006 - authors may
    typing.Dict: dict,  # noqa: UP006 - as above
}
_NATIVE: Final[dict[type, Any]] = {list: list, tuple: list, set: set, frozenset: frozenset}
_UNSET: Final = Scalar("UNSET", types=(msgspec.UnsetType,), wire=UNSET, kind=msgspec.UnsetType)
_RAW: Final = Scalar("Raw", types=(msgspec.Raw,), wire=ANYTHING, kind=msgspec.Raw)


def _scalar(kind: Any) -> Node | None:
    if kind is msgspec.UnsetType:
        return _UNSET
    if kind is msgspec.Raw:
        return _RAW
    try:
        return SCALARS.get(kind)
    except TypeError:  # an annotation that cannot be hashed
        return None


def _meaning(kind: Any, origin: Any, args: tuple[Any, ...]) -> Any:
    """Give the annotation that another one stands for; None if it stands for itself."""
    if getattr(origin or kind, "_name", None) in _UNWRAPPED and args:
        return args[0]
    if isinstance(kind, TypeVar):
        return substituted(kind, {})
    if isinstance(kind, (str, ForwardRef)):
        raise NameError(f"name {kind!r} is not defined")  # noqa: TRY004 - it is a name
    return getattr(kind, "__supertype__", None)


def _native(nodes: typing.Iterable[Node]) -> bool:
    return all(node.kind is not None for node in nodes)


def _default(field: Any, missing: object) -> Callable[[], Any] | None:
    if field.default_factory is not missing:
        return typing.cast("Callable[[], Any]", field.default_factory)
    if field.default is not missing:
        return lambda: field.default
    return None


def _attrs_default(attribute: Any) -> Callable[[], Any] | None:
    default = attribute.default
    if type(default).__name__ == "Factory":
        return None if default.takes_self else typing.cast("Callable[[], Any]", default.factory)
    return None if type(default).__name__ == "_Nothing" else lambda: default


def _why_not(cls: type) -> str:
    if getattr(cls, "_is_protocol", False):
        return "a protocol says what a value can do, not what it is; annotate the class"
    if issubclass(cls, (list, dict, set, frozenset, tuple)):
        return "annotate the plain container, or make a dataclass that has one"
    return "make it a dataclass, a msgspec.Struct or a pydantic model"
