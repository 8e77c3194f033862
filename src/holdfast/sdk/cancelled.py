"""How a plain `def` hears that nobody waits for it any more.

Law of this file: an `async def` is told by a CancelledError. A thread cannot be stopped from outside, so it asks.
"""

from contextvars import Context, ContextVar


class Attempt:
    """One call of a plain function in a thread; `is_over` once its result is wanted no more."""

    __slots__ = ("is_over",)

    def __init__(self) -> None:
        self.is_over = False

    @classmethod
    def within(cls, context: Context) -> "Attempt":
        """Make one that `cancelled()` asks in this context, and in whatever copies it later."""
        attempt = cls()
        context.run(_ATTEMPT.set, attempt)
        return attempt


_ATTEMPT: ContextVar[Attempt | None] = ContextVar("attempt", default=None)


def cancelled() -> bool:
    """Tell a step or an effect that is a plain `def` whether its attempt has exceeded its `timeout`.

    It is false in an `async def`, which hears a CancelledError, and outside of a worker.
    """
    attempt = _ATTEMPT.get()
    return attempt is not None and attempt.is_over
