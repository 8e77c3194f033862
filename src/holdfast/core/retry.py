"""When a failed attempt is tried again.

Law: the schedule is recorded with the step, and its jitter is drawn from the step's identity, so that whoever
computes the next attempt, now or after a failover, gets the same instant.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import msgspec

MICROS = 1_000_000
UNHEARD = "Unheard"
OF_THE_ENGINE = frozenset({"LeaseOver", UNHEARD, "UnknownStep"})
"""Types of failures that no code of the author's has raised: which errors it wants tried again says nothing of them."""
LONGEST_WAIT = 10 * 365 * 86_400.0
"""Seconds: an author's `maximum` may be infinite, an instant in history is not."""
FAIL: Final = "fail"
PARK: Final = "park"
ON_EXHAUSTED = (FAIL, PARK)
"""What becomes of a plain step whose attempts have run out: its `await` raises, or it waits for a person."""


class Failure(msgspec.Struct, frozen=True):
    """What an attempt or a run ended with; `kinds` are the names of the error's class and its bases.

    `retry_after`: the seconds that the step itself wants to pass before it is tried again.
    """

    type: str
    message: str
    step: str | None = None
    kinds: tuple[str, ...] = ()
    retryable: bool = True
    trace: str = ""
    retry_after: float | None = None


class RetrySchedule(msgspec.Struct, frozen=True):
    """The recorded form of an author's `Retry`: seconds, names of error classes."""

    attempts: int = 8
    initial: float = 0.1
    backoff: float = 3.0
    maximum: float = 60.0
    jitter: float = 0.1
    on: tuple[str, ...] = ()
    never_on: tuple[str, ...] = ()
    on_exhausted: str = FAIL


def next_attempt_at(
    schedule: RetrySchedule, failed: int, error: Failure, *, identity: str, at: int, deadline: int | None
) -> int | None:
    """Tell when attempt `failed + 1` is due, in microseconds since the epoch, or None when there is none.

    `schedule.attempts` of 0 means no limit; a `deadline` is the end of the step's total time. A step that asks for time
    gets it, within both.
    """
    if not is_wanted_again(schedule, error) or (schedule.attempts and failed >= schedule.attempts):
        return None
    wait = wait_after(schedule, failed)
    wait *= 1 + schedule.jitter * _unit(f"{identity}/{failed}")
    if error.retry_after is not None:  # 0.0 first: what came from elsewhere may be no number
        wait = max(wait, min(max(0.0, error.retry_after), LONGEST_WAIT))
    due = at + int(wait * MICROS)
    return None if deadline is not None and due >= deadline else due


def is_wanted_again(schedule: RetrySchedule, error: Failure) -> bool:
    """Tell whether an error is one to try again after, if there are attempts and time left.

    A step that asks for time asks to be tried again: which errors its author names says nothing of that.
    """
    if not error.retryable:
        return False
    of_the_author = error.type not in OF_THE_ENGINE and error.retry_after is None
    return not of_the_author or _wanted(schedule, (error.type, *error.kinds))


def wait_after(schedule: RetrySchedule, failed: int) -> float:
    """Tell how many seconds are between attempt `failed` and the next, before the jitter."""
    return min(schedule.maximum, _grown(schedule, failed), LONGEST_WAIT)


def _grown(schedule: RetrySchedule, failed: int) -> float:
    try:
        return schedule.initial * schedule.backoff ** (failed - 1)
    except OverflowError:
        return schedule.maximum


def _wanted(schedule: RetrySchedule, names: Sequence[str]) -> bool:
    """Tell whether the author wants errors of these names tried again."""
    return not _any_of(names, schedule.never_on) and (not schedule.on or _any_of(names, schedule.on))


def _any_of(names: Sequence[str], wanted: Sequence[str]) -> bool:
    return any(name in wanted for name in names)


def _unit(identity: str) -> float:
    """Draw a number in [-1, 1) from an identity."""
    return int.from_bytes(blake2b(identity.encode(), digest_size=8).digest(), "big") / 2**63 - 1
