"""Mappings that are never changed in place: a change gives another one, and two large ones share what is the same.

Laws of this file:
- A small mapping is a plain dict in the order of insertion: nothing is faster to copy.
- A large one has no order, and not the same one in every process: whoever lets order reach an output sorts.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from rpds import HashTrieMap

Value = TypeVar("Value")

LARGE = 128
"""From here on a copy costs more than a path of the tree (docs/adr/0023-shared-mappings.md)."""
FEW = 32
"""Down to here a tree stays a tree: a mapping that grows and shrinks by one does not change its kind each time."""


def added(mapping: Mapping[str, Value], key: str, value: Value) -> Mapping[str, Value]:
    """Give a mapping that also has `key`, or has another value for it."""
    if type(mapping) is dict:
        copy = {**mapping, key: value}
        return copy if len(copy) < LARGE else HashTrieMap(copy)
    return mapping.insert(key, value)  # type: ignore[attr-defined,no-any-return]  # the other kind


def without(mapping: Mapping[str, Value], key: str) -> Mapping[str, Value]:
    """Give a mapping that has no `key`."""
    if type(mapping) is dict:
        rest = dict(mapping)
        rest.pop(key, None)
        return rest
    tree: HashTrieMap[str, Value] = mapping.discard(key)  # type: ignore[attr-defined]  # the other kind
    return tree if len(tree) > FEW else dict(sorted(tree.items()))


def ordered(mapping: Mapping[str, Value]) -> Iterable[str]:
    """Give the keys in an order that is the same in every process: as inserted, or sorted where that is not known."""
    return mapping if type(mapping) is dict else sorted(mapping)
