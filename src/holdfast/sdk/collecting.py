"""Whether this thread collects garbage just now: then what runs is anybody's, and not the turn that it interrupts.

Laws of this file:
- Finalizers of other objects, and whoever measures the collector, may run in the middle of a turn. When that happens
  depends on the process: nothing of it is refused.
"""

import gc
from functools import cache
from threading import get_ident
from types import FrameType
from typing import Any

_threads: set[int] = set()


def is_collecting() -> bool:
    """Tell whether a finalizer runs here that the collector has called."""
    return bool(_threads) and get_ident() in _threads


def is_of_collector(frame: FrameType) -> bool:
    """Tell whether the collector has called this function at the begin or the end of its work."""
    return any(getattr(callback, "__code__", None) is frame.f_code for callback in gc.callbacks)


def _collects(phase: str, _: dict[str, Any]) -> None:
    if phase == "start":
        _threads.add(get_ident())
    else:
        _threads.discard(get_ident())


@cache
def watch_collector() -> None:
    gc.callbacks.append(_collects)
