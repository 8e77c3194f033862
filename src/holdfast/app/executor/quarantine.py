"""Executing apart what may end its process: one call at a time, each in a child process of its own.

Laws of this file:
- What it is suspected of costs a child, never this process. An innocent call simply succeeds.
- One at a time: what dies there has died of itself, not of a neighbour. Waiting for that is not attempt time.
- A step whose child dies is parked with the reason `worker_died`; an effect by the ledger's rules (app/effects).
"""

import asyncio
import logging
from typing import Any, Final

from holdfast.app.deaths import UNWATCHED, DeathWatch
from holdfast.app.executor.child_process import NOT_SENT, REFUSED, UNCLEAR, Answer, Raised, Request, answer_of, pack
from holdfast.app.executor.invocation import NotBegun, origin
from holdfast.core.asks import TRANSACTION
from holdfast.core.commands import ExecuteStep, StepResult
from holdfast.core.effects import PARKED
from holdfast.core.retry import Failure
from holdfast.core.run import WORKER_DIED
from holdfast.ports.isolation import Died, Isolation, NotStarted
from holdfast.sdk.definitions import Step
from holdfast.sdk.effects import Effect
from holdfast.sdk.failures import describe
from holdfast.sdk.verdicts import NotSent, Refused, Unclear

log = logging.getLogger(__name__)

NO_CHILDREN: Final = "this process knows of no application to start a child process with"
UNMOVABLE: Final = 2
"""So many times as many processes die of what cannot be executed apart, until it is parked: an innocent one that was
held beside the guilty has been rid of it by then."""


class ChildDied(Exception):
    """The child process of an attempt ended in the middle of the author's function."""


class Reported(Exception):
    """An author's function raised in a child process what `failure` says."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.type}: {failure.message}")
        self.failure = failure


class Quarantine:
    """Makes calls in child processes. Without an `isolation` there are none, and what is suspected is not tried."""

    def __init__(self, isolation: Isolation | None, deaths: DeathWatch = UNWATCHED) -> None:
        self._isolation = isolation
        self._deaths = deaths
        self._alone = asyncio.Lock()

    def deaths_of(self, task: ExecuteStep, definition: Step[..., Any]) -> int:
        """Count the processes that died of a step, children too; none, while it is executed as any other."""
        if not self._deaths.somebody_died:
            return 0
        deaths = self._deaths.of_step(task.run_id, task.incarnation, task.step_id)
        most = self._deaths.suspect_after * (1 if can_move(definition) else UNMOVABLE)
        return deaths if deaths >= most else 0

    def condemnation(self, task: ExecuteStep, definition: Step[..., Any]) -> str:
        """Say why an effect is not to be sent by this attempt; empty if it may be."""
        deaths = self.deaths_of(task, definition)
        if not deaths:
            return ""
        died = f"{WORKER_DIED}: {deaths} processes died while they executed {task.step_id}"
        if not can_move(definition):
            how = "its transaction" if task.guard == TRANSACTION else "its transport (http=)"
            return f"{died}, and {how} cannot be moved into a child process"
        if self._isolation is None:
            return f"{died}, and {NO_CHILDREN}"
        is_guilty = self._deaths.is_guilty(task.run_id, task.incarnation, task.step_id)
        return f"{died}, the last one alone" if is_guilty else ""

    async def pardon(self, task: ExecuteStep, *, everything: bool = False) -> None:
        """Forget the children, or all: a person takes it up from here, who may have it tried again."""
        await self._deaths.pardon(task.run_id, task.incarnation, task.step_id, everything=everything)

    async def call(self, task: ExecuteStep, data: bytes, *, asks: bool = False) -> bytes | None:
        """Call a function (or with `asks` the look-up of an effect) with its encoded arguments; gives its result.

        Raises:
            ChildDied: it died of it.
            Refused, NotSent, Unclear, Reported: as the function said; NotSent also where it did not begin.
            TimeoutError: it took longer than its time.
        """
        if self._isolation is None:
            raise ChildDied(f"it was not tried again: {NO_CHILDREN}")
        request = pack(Request(task, data, asks))
        async with self._alone:
            log.warning("%s %s of run %s is executed in a child process", task.kind, task.step_id, task.run_id)
            try:
                answer: Answer = answer_of(await self._isolation.run(request, task.timeout))
            except Died as died:
                await self._deaths.died_apart(task.run_id, task.incarnation, task.step_id, task.attempt)
                raise ChildDied(f"the child process that executed it ended by {died}") from None
            except NotStarted as error:
                raise NotBegun(f"the child process that was to execute it did not begin: {error}") from None
            except TimeoutError:
                text = f"attempt {task.attempt} took longer than {task.timeout:g} s, and its child process was killed"
                raise TimeoutError(text) from None
        if isinstance(answer, Raised):
            raise _raised(answer)
        return answer.data

    async def step(self, task: ExecuteStep, data: bytes, deaths: int) -> bytes:
        """Execute a plain step.

        Raises:
            ChildDied: the text tells a person all.
        """
        try:
            return await self.call(task, data) or b""
        except ChildDied as died:
            await self.pardon(task)
            raise ChildDied(
                f"{deaths} processes died while they executed {task.step_id}; {died}\n"
                f"Mend what ends the process, then: holdfast resume {task.run_id}"
            ) from None


def parked(task: ExecuteStep, died: ChildDied) -> StepResult:
    """Say that a step cannot be executed without ending its process: it waits for a person."""
    return StepResult(
        run_id=task.run_id,
        incarnation=task.incarnation,
        step_id=task.step_id,
        attempt=task.attempt,
        ledger=PARKED,
        reason=f"{WORKER_DIED}: {died}",
    )


def can_move(definition: Step[..., Any]) -> bool:
    """Tell whether a function can do its work in a child process: all it needs is its arguments."""
    return not isinstance(definition, Effect) or (definition.provider is None and definition.terms.guard != TRANSACTION)


def told_of(error: Exception) -> str:
    """Name an error for the ledger; what came from a child is named already."""
    return str(error) if isinstance(error, (Reported, ChildDied)) else describe(origin(error))


def _raised(answer: Raised) -> Exception:
    message = answer.failure.message
    if answer.verdict == REFUSED:
        return Refused(message, stored=answer.stored)
    if answer.verdict == NOT_SENT:
        return NotSent(message, not_before=answer.not_before)
    if answer.verdict == UNCLEAR:
        return Unclear(message, repeats=answer.repeats, not_before=answer.not_before)
    return Reported(answer.failure)
