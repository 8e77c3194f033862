"""Modules of others that keep chance of their own: watched as soon as they are imported, before `install()` or after.

Laws of this file:
- Whoever imports such a module gets it watched, so that by whom and when it was imported first makes no difference.
- A module that is never imported costs nothing.
"""

import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Final

Watch = Callable[[ModuleType], None]

_late: Final[dict[str, Watch]] = {}


class _Watching(Loader):
    """Loads a module as ever, and has it watched before anybody sees it."""

    def __init__(self, real: Loader, watch: Watch) -> None:
        self._real = real
        self._watch = watch

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._real.exec_module(module)
        self._watch(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        watch = _late.get(fullname)
        spec = None if watch is None else PathFinder.find_spec(fullname, path, target)
        if spec is None or watch is None or spec.loader is None:
            return None
        spec.loader = _Watching(spec.loader, watch)
        return spec


@cache
def _install_finder() -> None:
    sys.meta_path.insert(0, _Finder())


def when_imported(name: str, watch: Watch) -> None:
    """Have the module `name` watched, now or when it comes."""
    _late[name] = watch
    _install_finder()
    module = sys.modules.get(name)
    if module is not None:
        watch(module)
