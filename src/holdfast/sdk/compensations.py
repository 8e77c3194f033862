"""Sagas: what was done is undone backwards when the code fails or is cancelled.

Laws of this file:
- An undoing is an effect or a step, so that a crash in the middle goes on where it was.
- It is shielded: whoever cancels the code meanwhile is heard when everything is undone.
- One that fails waits for a person, with the rest still to do named; `holdfast resume` tries it again.
- An eviction, and what parks the run, is no end of the code: nothing is undone.
"""

import asyncio
from types import TracebackType
from typing import Any, Final, ParamSpec, Self

from holdfast.core.replay import ProgramStuck
from holdfast.core.settling import PERSON
from holdfast.sdk.callables import shown
from holdfast.sdk.definitions import Step, StepOptions, running
from holdfast.sdk.failures import describe, fit, within
from holdfast.sdk.guard import NotDeterministic
from holdfast.sdk.options import Retry

P = ParamSpec("P")

_ENDS: Final = (Exception, asyncio.CancelledError, SystemExit, KeyboardInterrupt, BaseExceptionGroup)
"""What ends an author's code; any other BaseException is the engine's."""


async def _look_at(told: str) -> None:
    """Stands for the person who looks at an undoing that failed; no worker executes it."""


_a_person: Final[Step[[str], None]] = Step(_look_at, "compensations", PERSON, StepOptions(Retry(attempts=1).recorded()))


class Compensations:
    """What is to be undone, the last first, if the block does not end well."""

    def __init__(self) -> None:
        self._undoings: list[tuple[Step[..., Any], tuple[Any, ...], dict[str, Any]]] = []

    def add(self, undo: Step[P, Any], *args: P.args, **kwargs: P.kwargs) -> None:
        """Have `undo`, an effect or a step, called with these arguments if the block fails or is cancelled."""
        if not isinstance(undo, Step):
            raise TypeError(f"undo.add({shown(undo)}, …): what undoes is an effect or a step, named and not called")
        self._undoings.append((undo, args, kwargs))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._undoings and _ends(error):
            await _shielded(self._undo())

    async def _undo(self) -> None:
        while self._undoings:
            undo, args, kwargs = self._undoings[-1]
            try:
                await undo(*args, **kwargs)
            except Exception as error:
                if running() is None or not _ends(error):
                    raise
                rest = ", ".join(one.name for one, _, _ in reversed(self._undoings[:-1])) or "nothing"
                # The text is short, so that the state can tell it.
                await _a_person(fit(f"{undo.name} failed: {describe(error)[:2_000]}; still to do after it: {rest}"))
            else:
                self._undoings.pop()


def compensations() -> Compensations:
    """Begin a saga.

    In `async with compensations() as undo:` say `undo.add(refund, receipt)` after each thing that was done.
    """
    return Compensations()


async def _shielded(work: Any) -> None:
    """Wait for all of it, whoever cancels the wait; then say that somebody did."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as heard:
            cancelled = heard
        except Exception:  # noqa: BLE001, S110 - it is raised below
            pass
    task.result()
    if cancelled is not None:
        raise cancelled


def _ends(error: BaseException) -> bool:
    """Tell whether the author's code has failed or was cancelled, rather than dropped from memory or parked."""
    return all(
        isinstance(one, _ENDS) and not isinstance(one, (NotDeterministic, ProgramStuck)) for one in within(error)
    )
