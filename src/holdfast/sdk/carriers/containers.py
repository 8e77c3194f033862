"""Lists, sets, dicts, tuples and their kin.

Laws of this file:
- A set travels in one order, whatever its own is: of numbers and texts the natural one, else that of the JSON.
- A dict keeps the order in which it was filled. Keys that JSON cannot name travel as pairs.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from types import GenericAlias
from typing import Any, Final

import msgspec

from holdfast.sdk.carriers.node import ARRAY, OBJECT, Misfit, Node, at_place, called, each, misfit_of
from holdfast.sdk.carriers.scalars import Real

_write: Final = msgspec.json.Encoder().encode
_NATURAL: Final = ({int}, {str})


def in_order(plain: list[Any]) -> list[Any]:
    """Put what was a set into the one order in which it travels."""
    return sorted(plain) if {*map(type, plain)} in _NATURAL else sorted(plain, key=_write)


class _NoClass:
    """The class of nothing: where no class of a value spares a look at it."""


_NO_CLASS: Final = _NoClass


class Many(Node):
    """Any number of values of one annotation, as an array."""

    __slots__ = ("_from_list", "_is_set", "_item", "_plainly", "_surely")

    def __init__(
        self,
        name: str,
        item: Node,
        *,
        types: tuple[type, ...],
        kind: Any = None,
        from_list: Callable[[list[Any]], Any],
    ) -> None:
        super().__init__(name, types=types, wire=frozenset({ARRAY}), kind=kind)
        self._item = item
        self._from_list = from_list
        self._is_set = issubclass(types[0], (set, frozenset))
        # What msgspec writes without a look at more than the classes.
        self._plainly: Any = _NO_CLASS if kind is None or item.exact is None or self._is_set else types[0]
        self._surely = item.exact

    def dump(self, value: Any) -> Any:
        if type(value) is self._plainly:
            surely = self._surely
            for part in value:
                if type(part) is not surely:
                    break
            else:
                return value
        if not isinstance(value, self.types):
            raise self.misfit(value)
        if self._is_set:
            return in_order(each(self._item.dump, value)) if value else []
        if type(value) is deque and value.maxlen is not None:
            raise Misfit("a deque with a maxlen is not carried: it would come back without")
        if (
            self.kind is not None
            and isinstance(self._item, Real)
            and {float}.issuperset(map(type, value))
            and all(map(math.isfinite, value))
        ):
            return value
        return each(self._item.dump, value)

    def load(self, plain: Any) -> Any:
        if self.kind is not None:
            return super().load(plain)
        if not isinstance(plain, list):
            raise self.refused(plain, "array")
        return self._from_list(each(self._item.load, plain))


class Fixed(Node):
    """A tuple of known length, named or not."""

    __slots__ = ("_items", "_make")

    def __init__(self, name: str, items: tuple[Node, ...], kind: Any, of: Any = tuple) -> None:
        super().__init__(name, types=(of,), wire=frozenset({ARRAY}), kind=kind)
        self._items = items
        self._make = tuple if of is tuple else of._make

    def dump(self, value: Any) -> Any:
        if not isinstance(value, self.types):
            raise self.misfit(value)
        if len(value) != len(self._items):
            raise Misfit(f"{len(value)} items where {self.name} is annotated")
        return [
            at_place(item.dump, part, f"[{n}]") for n, (item, part) in enumerate(zip(self._items, value, strict=True))
        ]

    def load(self, plain: Any) -> Any:
        if self.kind is not None:
            return super().load(plain)
        if not isinstance(plain, list) or len(plain) != len(self._items):
            raise Misfit(f"Expected an `array` of length {len(self._items)}")
        return self._make(
            [at_place(item.load, part, f"[{n}]") for n, (item, part) in enumerate(zip(self._items, plain, strict=True))]
        )


class Table(Node):
    """A dict whose keys JSON can name."""

    __slots__ = ("_from_dict", "_key", "_value")

    def __init__(
        self, name: str, key: Node, value: Node, *, of: type = dict, types: tuple[type, ...] = (dict,), kind: Any = None
    ) -> None:
        super().__init__(name, types=types, wire=frozenset({OBJECT}), kind=kind)
        self._key = key
        self._value = value
        self._from_dict = of

    def dump(self, value: Any) -> Any:
        if not isinstance(value, self.types):
            raise self.misfit(value)
        if type(value) is dict:
            surely, key = self._value.exact or _NO_CLASS, self._key.exact or _NO_CLASS
            for name, item in value.items():
                if type(item) is not surely or type(name) is not key:
                    break
            else:
                return value
        out = {}
        for name, item in value.items():
            try:
                out[self._key.dump(name)] = self._value.dump(item)
            except Misfit as misfit:
                raise misfit.at(f"[{name!r}]") from None
        if len(out) < len(value):
            raise Misfit(f"two keys of a {self.name} travel as one")
        return out

    def load(self, plain: Any) -> Any:
        if self.kind is not None:
            return super().load(plain)
        if not isinstance(plain, dict):
            raise self.refused(plain, "object")
        out = self._from_dict()
        for name, item in plain.items():
            try:
                out[_key(self._key, name)] = self._value.load(item)
            except Misfit as misfit:
                raise misfit.at(f"[{name!r}]") from None
        return out


def _key(node: Node, name: str) -> Any:
    """Make a key from what it is called in JSON: msgspec reads numbers out of names, as in objects."""
    if node.kind is None:
        return node.load(name)
    try:
        [key] = msgspec.convert({name: None}, GenericAlias(dict, (node.kind, None)), str_keys=True)
    except msgspec.ValidationError as error:
        raise misfit_of(error) from error
    return key


class Pairs(Node):
    """A dict with keys that JSON cannot name: an array of pairs."""

    __slots__ = ("_from_pairs", "_key", "_value")

    def __init__(
        self, name: str, key: Node, value: Node, *, of: type = dict, types: tuple[type, ...] = (dict,)
    ) -> None:
        super().__init__(name, types=types, wire=frozenset({ARRAY}))
        self._key = key
        self._value = value
        self._from_pairs = of

    def dump(self, value: Any) -> Any:
        if not isinstance(value, self.types):
            raise self.misfit(value)
        out = []
        for name, item in value.items():
            try:
                out.append([self._key.dump(name), self._value.dump(item)])
            except Misfit as misfit:
                raise misfit.at(f"[{name!r}]") from None
        return out

    def load(self, plain: Any) -> Any:
        if not isinstance(plain, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in plain):  # noqa: PLR2004 - a pair
            raise self.refused(plain, "array of pairs")
        out = self._from_pairs()
        for number, (name, item) in enumerate(plain):
            try:
                out[self._key.load(name)] = self._value.load(item)
            except Misfit as misfit:
                raise misfit.at(f"[{number}]") from None
        return out


class Keyed(Node):
    """A TypedDict: known names, each with its annotation."""

    __slots__ = ("_fields", "_required")

    def __init__(self, kind: Any, fields: Mapping[str, Node], required: frozenset[str], native: Any) -> None:
        super().__init__(called(kind), types=(dict,), wire=frozenset({OBJECT}), kind=native)
        self._fields = fields
        self._required = required

    def dump(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise self.misfit(value)
        if not self._required <= value.keys() <= self._fields.keys():
            wrong = sorted(map(str, (self._required - value.keys()) or (value.keys() - self._fields.keys())))
            raise Misfit(f"{', '.join(wrong)}: {self.name} has {', '.join(self._fields)}")
        return {name: at_place(self._fields[name].dump, item, f".{name}") for name, item in value.items()}

    def load(self, plain: Any) -> Any:
        if self.kind is not None:
            return super().load(plain)
        if not isinstance(plain, dict):
            raise self.refused(plain, "object")
        missing = self._required - plain.keys()
        if missing:
            raise Misfit(f"Object missing required field `{min(missing)}`")
        return {
            name: at_place(self._fields[name].load, item, f".{name}")
            for name, item in plain.items()
            if name in self._fields
        }
