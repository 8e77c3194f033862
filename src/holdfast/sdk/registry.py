"""What an application has defined, by name.

Laws of this file:
- Two different functions under one name are an error at import, since a history names functions only by name.
- A module that is loaded again (reloaded, or found under a second name) defines the same once more, and replaces it.
"""

import os
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from holdfast.sdk.callables import innermost, told

_stat: Final = os.stat
"""Taken before workflow code is kept from asking: it may be the first to import a module."""
Definition = TypeVar("Definition")


class DuplicateName(Exception):
    """Two functions under one name: says where both stand."""


class Names(Generic[Definition]):
    """Definitions of one kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._by_name: dict[str, Definition] = {}
        self._loads: dict[str, Load] = {}

    def add(self, name: str, function: Callable[..., Any], definition: Definition) -> None:
        load = Load(function)
        known = self._loads.get(name)
        if known is not None and not load.repeats(known):
            raise DuplicateName(
                f"{self.kind} {name!r} is defined twice: in {told(known.function)} and in {told(function)}. "
                "A history knows it by this name alone: give one of them another name="
            )
        self._by_name[name] = definition
        self._loads[name] = load

    def get(self, name: str) -> Definition | None:
        return self._by_name.get(name)

    def names(self) -> list[str]:
        return sorted(self._by_name)

    def definitions(self) -> list[Definition]:
        return list(self._by_name.values())


class Load:
    """A function as one execution of its module's code has made it."""

    __slots__ = ("function", "module", "spec")

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.module: dict[str, Any] = getattr(innermost(function), "__globals__", {})
        self.spec = self.module.get("__spec__")  # each load of a module has its own; a reload keeps the rest

    def repeats(self, known: "Load") -> bool:
        """Tell whether this is what was known before, defined once more."""
        if self.function is known.function:
            return True
        if self.module is known.module and self.spec is known.spec:
            return alike(self.function, known.function) or self._typed_again(known)
        return _file(self.function) == _file(known.function)

    def _typed_again(self, known: "Load") -> bool:
        """In a session at a prompt, or in a notebook, whoever defines a function again means to replace it."""
        is_session = self.module.get("__name__") == "__main__" and "__file__" not in self.module
        return is_session and self.function.__qualname__ == known.function.__qualname__


def alike(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Tell whether two functions are the same lines, run twice, with nothing that could differ.

    What closes over a variable is no definition (callables.py); a default may still tell them apart.
    """
    first, second = innermost(one), innermost(other)
    code = getattr(first, "__code__", None)
    if code is None:
        return one.__module__ == other.__module__ and one.__qualname__ == other.__qualname__
    return bool(
        code == getattr(second, "__code__", None)
        and _equal(getattr(first, "__defaults__", None), getattr(second, "__defaults__", None))
        and _equal(getattr(first, "__kwdefaults__", None), getattr(second, "__kwdefaults__", None))
    )


def _equal(one: object, other: object) -> bool:
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001 - the author's __eq__ may raise anything
        return False


def _file(function: Callable[..., Any]) -> str:
    """Name the file of a function; code that was made from a text is told apart by its module."""
    code = getattr(innermost(function), "__code__", None)
    name = "" if code is None else code.co_filename
    try:
        found = _stat(name)
    except (OSError, ValueError):
        return f"{name} {function.__module__}"
    return f"{found.st_dev} {found.st_ino}"
