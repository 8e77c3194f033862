"""What an application has defined, by name.

Law: two different functions under one name are an error at import, since a history names functions only by name.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

Definition = TypeVar("Definition")


class DuplicateName(Exception):
    """Two functions under one name: says where both stand."""


class Names(Generic[Definition]):
    """Definitions of one kind. Defining the same function again (a module that is imported anew) replaces it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._by_name: dict[str, Definition] = {}
        self._places: dict[str, tuple[str, str]] = {}

    def add(self, name: str, function: Callable[..., Any], definition: Definition) -> None:
        place = (function.__module__, function.__qualname__)
        known = self._places.get(name)
        if known is not None and known != place and "<locals>" not in place[1]:
            raise DuplicateName(
                f"{self.kind} {name!r} is defined twice: in {'.'.join(known)} and in {'.'.join(place)}. "
                "Give one of them another name=."
            )
        self._by_name[name] = definition
        self._places[name] = place

    def get(self, name: str) -> Definition | None:
        return self._by_name.get(name)

    def names(self) -> list[str]:
        return sorted(self._by_name)

    def definitions(self) -> list[Definition]:
        return list(self._by_name.values())
