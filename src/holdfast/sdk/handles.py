"""A callback that waits for its turn."""

from collections.abc import Callable
from contextvars import Context
from typing import Any

import msgspec


class Handle(msgspec.Struct, eq=False):
    """asyncio's own also keeps a loop, a traceback and a repr."""

    callback: Callable[..., object] | None
    args: tuple[Any, ...]
    context: Context

    def cancel(self) -> None:
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        return self.callback is None
