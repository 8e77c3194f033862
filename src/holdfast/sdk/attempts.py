"""What a step may say of its next attempt, and how that is put into the words of history.

Law of this file: what a step says counts in a group of errors too, for a task group of the author's may stand between.
"""

from typing import Any, Final

from msgspec.structs import replace

from holdfast.core.retry import Failure
from holdfast.sdk.failures import failure_of, within
from holdfast.sdk.options import Duration, span


class RetryAfter(Exception):
    """Raised in a step: this attempt failed, and the next one waits for at least so long.

    It counts as an attempt. When attempts or `total_timeout` run out, that is the end as after any other error.
    """

    __slots__ = ("seconds",)

    def __init__(self, wait: Duration, text: str = "") -> None:
        seconds = span("RetryAfter", wait, or_zero=True)
        super().__init__(text or f"to be tried again after {seconds:g} s")
        self.seconds = seconds


class Fatal(Exception):
    """Raised in a step: no further attempt would help. The step fails at once, whatever its `Retry` says."""


_SECONDS: Final[Any] = vars(RetryAfter)["seconds"].__get__
"""The slot itself: a subclass of an author's may have a property in its place."""


def failed_attempt(error: BaseException, step: str, *, retryable: bool = True) -> Failure:
    """Put what an author's step or effect raised into the words of history, with what it says of its next attempt."""
    failure = failure_of(error, step, retryable=retryable)
    waits: list[float] = []
    for one in within(error):
        if isinstance(one, Fatal):
            return replace(failure, retryable=False)
        if isinstance(one, RetryAfter):
            waits += _wait_of(one)
    return replace(failure, retry_after=max(waits)) if waits else failure


def _wait_of(error: RetryAfter) -> list[float]:
    try:
        return [_SECONDS(error)]
    except AttributeError:  # a subclass that does not call its __init__
        return []
