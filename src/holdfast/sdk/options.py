"""Options of definitions: spans of time, names, how often to try again.

Law of this file: an option is checked when the function is defined. One of a wrong type is a TypeError, one outside
of what the engine can hold a ValueError. It names the option, the function, its file and line, and what is right.
"""

import dataclasses
import datetime as dt
import numbers
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from holdfast.core.identity import InvalidRunId, run_id
from holdfast.core.parent import POLICIES
from holdfast.core.retry import FAIL, ON_EXHAUSTED, PARK, RetrySchedule
from holdfast.sdk.callables import caller, shown
from holdfast.sdk.failures import full_name

Duration: TypeAlias = float | dt.timedelta
"""A span of time: seconds, or a `timedelta`."""
ParentClose: TypeAlias = Literal["terminate", "cancel", "abandon"]
"""What becomes of a child that is open when its parent ends."""
Kinds: TypeAlias = type[BaseException] | tuple[type[BaseException], ...]
"""Classes of errors, as after `except`."""

LONGEST: Final = 100 * 365 * 86_400.0
"""Seconds: a longer span is a mistake, and an instant beyond the year 9999 cannot be written."""
MOST_ATTEMPTS: Final = 1_000_000
NAME_LIMIT: Final = 255
_QUEUE: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
_SPAN: Final = "a span of time is seconds or a timedelta, such as minutes(5)"


def seconds(number: float) -> float:
    """Tell a time span in seconds."""
    return float(number)


def minutes(number: float) -> float:
    """Tell a time span in seconds."""
    return number * 60.0


def hours(number: float) -> float:
    """Tell a time span in seconds."""
    return number * 3600.0


def days(number: float) -> float:
    """Tell a time span in seconds."""
    return number * 86400.0


def span(what: str, value: object, *, or_zero: bool = False) -> float:
    """Read a span of time; `what` names the option in the error."""
    if isinstance(value, dt.timedelta):
        found = value.total_seconds()
    elif isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{what}={shown(value)}: {_SPAN}")
    else:
        found = float(value)
    if not (0 <= found <= LONGEST) or (not found and not or_zero):  # NaN is neither
        least = "not less than 0" if or_zero else "more than 0"
        raise ValueError(f"{what}={shown(value)}: {least}, and at most {LONGEST:.0f} s (100 years)")
    return found


def optional_span(what: str, value: object) -> float | None:
    """Read a span of time that may be left out."""
    return None if value is None else span(what, value)


def number(what: str, value: object, least: float, most: float) -> float:
    """Read a plain number in a range."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{what}={shown(value)}: a number from {least:g} to {most:g}")
    found = float(value)
    if not least <= found <= most:
        raise ValueError(f"{what}={shown(value)}: a number from {least:g} to {most:g}")
    return found


def name(what: str, value: object) -> str:
    """Read a name as histories, keys and addresses can hold it."""
    if not isinstance(value, str):
        raise TypeError(f"{what}={shown(value)}: a text")
    if not value.strip() or len(value) > NAME_LIMIT:
        raise ValueError(f"{what}={shown(value)}: 1 to {NAME_LIMIT} characters")
    if not value.isprintable() or "/" in value or "#" in value:
        raise ValueError(
            f"{what}={shown(value)}: it can be printed, and has no '/' or '#', which join the parts of ids"
        )
    return value


def step_id(what: str, value: object) -> str:
    """Read an id of the author's own for a step, which may come from anywhere; a store may refuse more."""
    if not isinstance(value, str):
        raise TypeError(f"{what}={shown(value)}: a text")
    if not 1 <= len(value) <= NAME_LIMIT or any(one in "#/" or "\ud800" <= one <= "\udfff" for one in value):
        raise ValueError(f"{what}={shown(value)}: 1 to {NAME_LIMIT} whole characters, without '/' or '#'")
    return value


def version(what: str, value: object) -> str:
    """Read a workflow's version."""
    found = name(what, value)
    if "@" in found:
        raise ValueError(f"{what}={shown(value)}: it has no '@', which joins name and version")
    return found


def events(what: str, value: object) -> int:
    """Read a number of events."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what}={shown(value)}: a number of events")
    if value < 1:
        raise ValueError(f"{what}={shown(value)}: 1 or more events")
    return value


def queue(what: str, value: object) -> str:
    """Read the name of a queue, which is a part of its topic's."""
    if not isinstance(value, str):
        raise TypeError(f"{what}={shown(value)}: a text")
    if not _QUEUE.fullmatch(value):
        raise ValueError(f"{what}={shown(value)}: 1 to 100 of A-Z a-z 0-9 . _ -, for it is a part of its topic's name")
    return value


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often and when a failed attempt is tried again; waits in seconds or as timedelta, `attempts` 0 for no limit.

    The wait before attempt n+1 is `initial * backoff ** (n - 1)`, at most `maximum`, times 1 ± `jitter`. With
    `on_exhausted="park"` a step whose attempts have run out waits for a person, and `holdfast resume` tries it again.
    """

    attempts: int = 8
    initial: Duration = 0.1
    backoff: float = 3.0
    maximum: Duration = 60.0
    jitter: float = 0.1
    on: Kinds = ()
    never_on: Kinds = ()
    on_exhausted: Literal["fail", "park"] = FAIL

    def __post_init__(self) -> None:
        try:
            self.recorded()
        except (TypeError, ValueError) as error:
            raise type(error)(f"Retry(…) ({caller()}): {error}") from None

    def recorded(self) -> RetrySchedule:
        return RetrySchedule(
            attempts=_attempts(self.attempts),
            initial=span("initial", self.initial, or_zero=True),
            backoff=number("backoff", self.backoff, 0, 1e9),
            maximum=span("maximum", self.maximum, or_zero=True),
            jitter=number("jitter", self.jitter, 0, 1),
            on=_kinds("on", self.on),
            never_on=_kinds("never_on", self.never_on),
            on_exhausted=_on_exhausted(self.on_exhausted),
        )


def _attempts(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"attempts={shown(value)}: a whole number; 0 for no limit")
    if not 0 <= int(value) <= MOST_ATTEMPTS:
        raise ValueError(f"attempts={shown(value)}: from 1 to {MOST_ATTEMPTS}; 0 for no limit")
    return int(value)


def _on_exhausted(value: object) -> str:
    if value not in ON_EXHAUSTED:
        raise ValueError(f"on_exhausted={shown(value)}: one of {', '.join(ON_EXHAUSTED)}")
    return str(value)


def _kinds(what: str, value: object) -> tuple[str, ...]:
    kinds = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
    for kind in kinds:
        if not isinstance(kind, type) or not issubclass(kind, BaseException):
            raise TypeError(f"{what}={shown(value)}: classes of errors, such as {what}=(TimeoutError, OSError)")
    return tuple(full_name(kind) for kind in kinds)


class StepOptions(msgspec.Struct, frozen=True):
    """How a step is executed; times in seconds."""

    retry: RetrySchedule
    timeout: float = 600.0
    total_timeout: float | None = None
    heartbeat: float | None = None
    queue: str = "default"
    guard: str | None = None
    id: str | None = None

    def __post_init__(self) -> None:
        if self.guard is not None and self.retry.on_exhausted == PARK:
            raise ValueError("on_exhausted='park' is for steps: an effect that is unclear at the end is parked anyhow")


class ChildOptions(msgspec.Struct, frozen=True):
    """How a child is called; what is None follows from the call."""

    id: str | None = None
    parent_close: str | None = None


def child_options(before: ChildOptions, *, id: object, parent_close: object) -> ChildOptions:
    """Read how a child is to be called.

    Raises:
        TypeError, ValueError: says which option is wrong, and what is right.
    """
    chosen, close = before.id, before.parent_close
    if id is not None:
        if not isinstance(id, str):
            raise TypeError(f"id={shown(id)}: a text")
        try:
            chosen = run_id(id)
        except InvalidRunId as refused:
            raise ValueError(f"id={shown(id)}: {refused}") from None
    if parent_close is not None:
        if parent_close not in POLICIES:
            raise ValueError(f"parent_close={shown(parent_close)}: one of {', '.join(POLICIES)}")
        close = str(parent_close)
    return ChildOptions(chosen, close)


def _retry(what: str, value: object) -> RetrySchedule:
    if value is None:
        return Retry().recorded()
    if not isinstance(value, Retry):
        raise TypeError(f"{what}={shown(value)}: a Retry, such as {what}=Retry(attempts=3)")
    return value.recorded()


_READ: Final[dict[str, Any]] = {
    "retry": _retry,
    "timeout": span,
    "total_timeout": optional_span,
    "heartbeat": optional_span,
    "queue": queue,
    "id": step_id,
}


def options(given: Mapping[str, object]) -> dict[str, Any]:
    """Read options as an author gave them.

    Raises:
        TypeError, ValueError: says which one is wrong, and what is right; the caller says of what it is an option.
    """
    return {what: _READ[what](what, value) for what, value in given.items()}
