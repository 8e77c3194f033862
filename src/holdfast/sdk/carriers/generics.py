"""What the type parameters of generic classes stand for, and the annotations of a class's fields."""

import functools
import operator
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin

from holdfast.sdk.signatures import annotations_of

Meant = Mapping[Any, Any]


def substituted(kind: Any, meant: Meant) -> Any:
    """Put what parameters stand for in their place: what is said, else the bound, else Any."""
    if isinstance(kind, TypeVar):
        if kind in meant:
            return meant[kind]
        if kind.__constraints__:
            return functools.reduce(operator.or_, kind.__constraints__)
        return kind.__bound__ or Any
    free = getattr(kind, "__parameters__", ())
    if isinstance(kind, type) and get_origin(kind) is None:
        return kind  # a generic class without its parameters
    if not free:
        return kind
    return kind[tuple([substituted(parameter, meant) for parameter in free])]


def alias_value(kind: Any) -> Any:
    """Give what `type X = …` stands for, with its parameters."""
    alias = get_origin(kind) or kind
    return substituted(alias.__value__, dict(zip(alias.__type_params__, get_args(kind), strict=False)))


def fields_of(kind: Any, cls: type) -> dict[str, Any]:
    """Give the annotations of a class's fields, with what its type parameters stand for.

    Raises:
        NameError: a name in them is not there (yet).
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    meant_in = _meant(cls, dict(zip(getattr(cls, "__parameters__", ()), get_args(kind), strict=False)), {})
    return {name: substituted(hint, meant_in.get(_owner(cls, name), {})) for name, hint in hints.items()}


def _owner(cls: type, name: str) -> type:
    return next((base for base in cls.__mro__ if name in annotations_of(base)), cls)


def _meant(cls: Any, meant: Meant, into: dict[type, Meant]) -> dict[type, Meant]:
    """Find what the parameters of each base stand for."""
    into.setdefault(cls, meant)
    for base in getattr(cls, "__orig_bases__", ()):
        origin = get_origin(base)
        if getattr(origin, "__parameters__", ()):
            arguments = [substituted(argument, meant) for argument in get_args(base)]
            _meant(origin, dict(zip(origin.__parameters__, arguments, strict=False)), into)
        elif isinstance(base, type):
            _meant(base, {}, into)
    if "__orig_bases__" not in cls.__dict__:
        for base in cls.__bases__:
            _meant(base, {}, into)
    return into
