"""An author's exception, put into the words of history.

Laws of this file:
- Nothing of the author's is trusted: a text that cannot be told is named, a cycle is walked once, what is long is cut.
- Of an exception only what BaseException itself keeps is read, never an attribute that a subclass may have replaced.
- The end of a turn (turn_limit.py) passes through: it is meant for whoever runs the turn.
"""

import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final

from holdfast.core.replay import ProgramStuck
from holdfast.core.retry import Failure
from holdfast.sdk import turn_limit
from holdfast.sdk.guard import NotDeterministic
from holdfast.sdk.turn_limit import TurnTooLong

MESSAGE_LIMIT = 8_192
TRACE_LIMIT = 16
"""Frames of each traceback, the innermost ones."""
CAUSES = 8
MEMBERS = 8
DEPTH = 3
KINDS = 32

_CAUSE: Final[Any] = vars(BaseException)["__cause__"].__get__
_CONTEXT: Final[Any] = vars(BaseException)["__context__"].__get__
_IS_SUPPRESSED: Final[Any] = vars(BaseException)["__suppress_context__"].__get__
_TRACEBACK: Final[Any] = vars(BaseException)["__traceback__"].__get__
_MEMBERS: Final[Any] = vars(BaseExceptionGroup)["exceptions"].__get__
_BASES: Final[Any] = vars(type)["__mro__"].__get__
_NAME: Final[Any] = vars(type)["__qualname__"].__get__
_MODULE: Final[Any] = vars(type)["__module__"].__get__


def failure_of(error: BaseException, step: str | None = None, *, retryable: bool = True) -> Failure:
    """Put an exception into the words of history: its type, its text, its bases, a bounded traceback."""
    kind = type(error)
    return Failure(
        type=_NAME(kind),
        message=fit("\n".join(_lines(error))),
        step=step,
        kinds=tuple(
            full_name(base) for base in _BASES(kind)[:KINDS] if base is not object and base is not BaseException
        ),
        retryable=retryable,
        trace=trace_of(error),
    )


def fit(text: str) -> str:
    """Cut an error's text, and make it fit for UTF-8 and for stores, which hold no half characters and no NUL."""
    # str's own slice: the text may be of a subclass of the author's.
    cut = str.__getitem__(text, slice(0, MESSAGE_LIMIT))
    return cut.replace("\0", " ").encode(errors="backslashreplace").decode()


def full_name(kind: type[BaseException]) -> str:
    """Name a class of errors as a history does: module and qualified name."""
    return f"{_MODULE(kind)}.{_NAME(kind)}"


def text_of(error: BaseException) -> str:
    """Tell an exception's own text, whatever its `__str__` does."""
    in_turn = turn_limit.is_in_turn()
    try:
        with turn_limit.bounded():
            return fit(str(error))
    except TurnTooLong:
        if in_turn:
            raise
        return "(its text cannot be told: its __str__ takes too long)"
    except BaseException as fault:  # noqa: BLE001 - the author's, in the author's __str__
        return f"(its text cannot be told: {_NAME(type(fault))} in its __str__)"


def describe(error: BaseException) -> str:
    """Name an exception in one line: type and text."""
    return fit(f"{_NAME(type(error))}: {text_of(error)}")


def trace_of(error: BaseException) -> str:
    """Tell where an exception comes from, its causes first, as Python prints it; at most `CAUSES` of them."""
    told: list[str] = []
    for one, because in reversed(list(_chain(error))):
        told += traceback.format_list(_frames(_TRACEBACK(one)))
        told += [line + "\n" for line in (f"{full_name(type(one))}: {text_of(one)}", *_members(one, 1), *_notes(one))]
        if because:
            told.append(because)
    return fit("".join(told))


def innermost(error: BaseException | None) -> BaseException | None:
    """Find what stops the code in a group of errors, if it is there; else it is the group."""
    if error is None:
        return None
    for one in within(error):
        if isinstance(one, (NotDeterministic, ProgramStuck)):
            return one
    return error


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Walk an exception, its causes, contexts and members, each once."""
    return _walk(error, lambda one: (_CAUSE(one), _CONTEXT(one), *members_of(one)))


def members_of(error: BaseException) -> tuple[BaseException, ...]:
    members: tuple[BaseException, ...] = _MEMBERS(error) if isinstance(error, BaseExceptionGroup) else ()
    return members


def within(error: BaseException | None) -> Iterator[BaseException]:
    """Walk an exception and the members of a group, each once."""
    return _walk(error, members_of)


def _walk(error: BaseException | None, nexts: Any) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        waiting += reversed(nexts(one))
        yield one


def _lines(error: BaseException) -> Iterator[str]:
    yield text_of(error)
    yield from _members(error, 1)


def _members(error: BaseException, depth: int) -> Iterator[str]:
    members = members_of(error)
    for member in members[:MEMBERS] if depth <= DEPTH else ():
        yield f"{'  ' * depth}{describe(member)}"
        yield from _members(member, depth + 1)
    hidden = len(members) - MEMBERS if depth <= DEPTH else len(members)
    if hidden > 0:
        yield f"{'  ' * depth}and {hidden} more"


def _chain(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """The exception and what it comes from, each with the words that lead on from it to the one before."""
    seen: set[int] = set()
    one: BaseException | None = error
    because = ""
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        if len(seen) > CAUSES:
            return
        yield one, because
        cause = _CAUSE(one)
        because = "\nThe above exception was the direct cause of the following exception:\n\n"
        if cause is None and not _IS_SUPPRESSED(one):
            cause = _CONTEXT(one)
            because = "\nDuring handling of the above exception, another exception occurred:\n\n"
        one = cause


def _frames(trace: TracebackType | None) -> list[traceback.FrameSummary]:
    return list(traceback.StackSummary.extract(traceback.walk_tb(trace), limit=-TRACE_LIMIT))


def _notes(error: BaseException) -> list[str]:
    notes = vars(error).get("__notes__", ())
    return [fit(note) for note in notes[:MEMBERS] if isinstance(note, str)] if isinstance(notes, list) else []
