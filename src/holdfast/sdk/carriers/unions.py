"""One of several annotations.

Laws of this file:
- Where JSON tells the members apart, a value travels as it does alone.
- Where it does not, the plain JSON type (str, int, list) travels as it does alone, and the others as an object of one
  name: `{"date": "2026-01-02"}`.
- Members that not even Python tells apart are refused when the annotation is read.
"""

from collections import Counter
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any, Final

import msgspec

from holdfast.sdk.carriers.choices import Choice
from holdfast.sdk.carriers.node import FLOAT, INT, OBJECT, Node, Unsupported, at_place, wire_of
from holdfast.sdk.carriers.scalars import FREE, INTEGER, TEXT, Integer, Real, Text

_BARE: Final = (Text, Integer, Choice)
UNSET: Final = frozenset({"unset"})


class Union(Node):
    """One of several annotations."""

    __slots__ = ("_by_tag", "_by_type", "_by_wire", "_tags", "members")

    def __init__(self, members: Sequence[Node], kind: Any) -> None:
        self.members = members
        self._tags = {} if kind is not None else _tags(members)
        self._by_tag = {name: node for node, name in self._tags.items()}
        self._by_type: dict[type, Node] = {}
        for node in members:
            for each in node.types:
                if each is int and _is_beside_integers(node, members):
                    continue
                self._by_type.setdefault(each, node)
        self._by_wire = {wire: node for node in members if node not in self._tags for wire in _wire_in(node, members)}
        wire = frozenset(self._by_wire) | (frozenset({OBJECT}) if self._tags else frozenset())
        types = tuple(self._by_type)
        super().__init__(" | ".join(node.name for node in members), types=types, wire=wire, kind=kind)

    def dump(self, value: Any) -> Any:
        node = self._by_type.get(type(value)) or self._nearest(value)
        plain = node.dump(value)
        return {self._tags[node]: plain} if node in self._tags else plain

    def _nearest(self, value: Any) -> Node:
        for each in type(value).__mro__:
            node = self._by_type.get(each)
            if node is not None:
                return node
        raise self.misfit(value)

    def load(self, plain: Any) -> Any:
        if self.kind is not None:
            return super().load(plain)
        if isinstance(plain, dict) and len(plain) == 1:
            [name] = plain
            node = self._by_tag.get(name)
            if node is not None:
                return at_place(node.load, plain[name], f".{name}")
        node = self._by_wire.get(wire_of(plain))
        if node is None:
            raise self.refused(plain, self.name)
        return node.load(plain)


def _is_beside_integers(node: Node, members: Sequence[Node]) -> bool:
    return isinstance(node, Real) and any(INT in other.wire for other in members if not isinstance(other, Real))


def _wire_in(node: Node, members: Sequence[Node]) -> frozenset[str]:
    """Tell which JSON is a member's: a float's integers only where no other member has them."""
    if _is_beside_integers(node, members):
        return frozenset({FLOAT})
    return node.wire


def _tags(members: Sequence[Node]) -> dict[Node, str]:
    """Name the members that JSON does not tell apart."""
    shares = Counter(wire for node in members for wire in _wire_in(node, members))
    shared = {wire for wire, number in shares.items() if number > 1}
    if not shared:
        return {}
    bare: set[str] = set()
    tagged: list[Node] = []
    for node in members:
        wires = _wire_in(node, members)
        plain = isinstance(node, _BARE) or node.name.partition("[")[0] == "list"
        if plain and not wires & bare:
            bare |= wires
        elif wires & (shared | {OBJECT}):  # an object could be taken for a tag
            tagged.append(node)
    names = [node.name.partition("[")[0] for node in tagged]
    if len(set(names)) < len(names):
        twice = next(name for name, number in Counter(names).items() if number > 1)
        raise Unsupported(f"two of its members are called {twice!r}, and nothing tells them apart: rename one of them")
    return dict(zip(tagged, names, strict=True))


def union_of(members: Sequence[Node]) -> Node:
    """Put together what carries one of several annotations."""
    members = _simplified([each for node in members for each in (node.members if isinstance(node, Union) else (node,))])
    if len(members) == 1:
        return members[0]
    if FREE in members:
        return FREE
    seen: dict[type, Node] = {}
    for node in members:
        for each in node.types:
            other = seen.setdefault(each, node)
            if other is not node and not (each is int and (isinstance(node, Real) or isinstance(other, Real))):
                raise Unsupported(
                    f"nothing tells a value of {other.name} from one of {node.name}: make a dataclass of each"
                )
    return Union(members, _native(members))


def _simplified(members: Sequence[Node]) -> list[Node]:
    """Leave out what another member stands for: literals beside their own type, the same member twice."""
    kept: list[Node] = []
    literals: list[Any] = []
    for node in members:
        if isinstance(node, Choice):
            literals.extend(value for value in node.values if (type(value), value) not in map(_typed, literals))
        elif node not in kept:
            kept.append(node)
    own = {str: TEXT, int: INTEGER}
    literals = [value for value in literals if own.get(type(value)) not in kept]
    if literals:
        kept.append(Choice(tuple(literals)))
    return kept


def _typed(value: Any) -> tuple[type, Any]:
    return type(value), value


def _native(members: Sequence[Node]) -> Any:
    """Give the union as msgspec decodes it, if it can."""
    if any(node.kind is None for node in members):
        return None
    kind = reduce(or_, (node.kind for node in members))
    if any(node.wire == UNSET for node in members):
        return kind  # of a field of a struct, which alone can be left out
    try:
        msgspec.json.Decoder(kind)
    except TypeError:
        return None
    return kind
