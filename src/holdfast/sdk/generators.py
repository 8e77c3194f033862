"""Async generators that are left before their end: each is closed by the loop on which it began.

Laws of this file:
- What begins in a turn comes back to its run's loop; what began elsewhere goes to whoever closed it without us.
- The interpreter's hooks are set once for each thread and its running loop, not for each turn: setting them raises
  four audit events a turn, measured as a tenth of what an embedded run cost.
"""

import sys
from asyncio import _get_running_loop
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any, Final, Protocol, TypeAlias

from holdfast.sdk.eviction import unwind_generator

Generator: TypeAlias = AsyncGenerator[Any, Any]
Hook: TypeAlias = Callable[[Generator], None]


class Owner(Protocol):
    """A loop of workflow code."""

    def begins(self, generator: int) -> None:
        """Called when a generator begins on it, with its address."""

    def left(self, generator: Generator) -> None:
        """Called when the last reference to an unfinished generator went."""


_NOBODY: Final = object()
# By address. That of a generator which came to its end stays until another one begins there: so each is looked at when
# it begins, whoever's it is, and the table is no longer than there were generators at once.
_owners: Final[dict[int, Any]] = {}


class _Begins:
    __slots__ = ("_outer", "_owner_kind")

    def __init__(self, owner_kind: type[Any], outer: Hook | None) -> None:
        self._owner_kind = owner_kind
        self._outer = outer

    def __call__(self, generator: Generator) -> None:
        loop: Any = _get_running_loop()
        if isinstance(loop, self._owner_kind):
            _owners[id(generator)] = loop
            loop.begins(id(generator))
            return
        _owners.pop(id(generator), None)
        if self._outer is not None:
            self._outer(generator)


class _Ends:
    __slots__ = ("_outer",)

    def __init__(self, outer: Hook) -> None:
        self._outer = outer

    def __call__(self, generator: Generator) -> None:
        owner = _owners.pop(id(generator), _NOBODY)
        if owner is _NOBODY:
            self._outer(generator)
        elif owner is None:
            unwind_generator(generator)
        else:
            owner.left(generator)


def watch(owner_kind: type[Any]) -> tuple[Hook | None, Hook | None] | None:
    """Notice the generators that begin on loops of `owner_kind`; gives the hooks to set again after the turn, if any.

    A thread without a running loop of its own gets them back: nobody would close what begins there later.
    """
    first, last = sys.get_asyncgen_hooks()
    if type(first) is _Begins:
        return None
    sys.set_asyncgen_hooks(_Begins(owner_kind, first), _Ends(last or unwind_generator))
    return (first, last) if last is None else None


def disown(generators: Iterable[int], owner: Owner) -> None:
    """The run is dropped: what is left of its generators from now on ends without effect."""
    for generator in generators:
        if _owners.get(generator) is owner:
            _owners[generator] = None


async def closed(generator: AsyncGenerator[Any, Any]) -> None:
    await generator.aclose()
