"""Cancellations around effects in flight.

Laws of this file:
- A cancellation of an effect's caller is a request to the ledger, made once. The caller waits on for the verdict.
- After the verdict it has the effect's result or error as if nothing had been, and is cancelled where it waits next,
  with the receipt at hand; not if whoever asked for it has taken it back. So is a task that awaits the caller's.
- A cancellation that is said again and again (cancellation.py) is not owed: whoever says it will say it then.
- An effect that the ledger has closed was never sent: the cancellation is delivered where it waits.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Self

from holdfast.sdk.definitions import StepError
from holdfast.sdk.loop import WorkflowLoop
from holdfast.sdk.tasks import Listener, words_of

CLOSED: Final = object()
"""What a verdict holds when the ledger has closed the effect: nothing was sent."""


class Owed(NamedTuple):
    """A cancellation that an effect has overtaken: how many there were of its task by then, and its words."""

    times: int
    words: str | None

    def error(self) -> asyncio.CancelledError:
        return asyncio.CancelledError() if self.words is None else asyncio.CancelledError(self.words)


class Heard:
    """The cancellations of one task while it waits for a verdict, by their words.

    `_single` are those that nobody repeats, each with how many of all kinds there were by then. Whoever repeats his
    takes all of them back when the task has left his scope.
    """

    __slots__ = ("_repeated", "_single", "_times")

    def __init__(self) -> None:
        self._times: dict[str | None, int] = {}
        self._single: dict[str | None, tuple[int, dict[str | None, int]]] = {}
        self._repeated: list[str] = []

    def add(self, words: str | None, times: int) -> bool:
        """Note one; the answer is whether these words are known to be repeated."""
        self._times[words] = self._times.get(words, 0) + 1
        is_repeated = words in self._repeated
        if not is_repeated:
            self._single[words] = (times, dict(self._times))
        return is_repeated

    def will_be_repeated(self, words: str | None) -> None:
        if words is not None and words in self._single:  # without words it may be anybody's
            del self._single[words]
            self._repeated.append(words)

    def owed(self) -> Owed:
        """In the words of who repeats them, if one does: his scope knows its own alone."""
        words = next((words for words in (*self._repeated, *self._single) if words is not None), None)
        return Owed(max(map(self._without_repeated, self._single.values()), default=0), words)

    def _without_repeated(self, mark: tuple[int, dict[str | None, int]]) -> int:
        times, by_words = mark
        return times - sum(by_words.get(words, 0) for words in self._repeated)


class Verdict(Listener):
    """What the caller of an effect waits for. To cancel it is to ask the ledger."""

    __slots__ = ("_heard", "_step_id", "_task", "_withdraw")

    _heard: dict[asyncio.Task[Any], Heard] | None
    _step_id: str
    _task: asyncio.Task[Any] | None
    _withdraw: Callable[[str], None] | None

    @classmethod
    def of(cls, loop: WorkflowLoop, step_id: str, withdraw: Callable[[str], None]) -> Self:
        verdict = cls(loop=loop)
        verdict.number = loop.next_number()
        verdict._step_id = step_id
        verdict._withdraw = withdraw
        verdict._task = asyncio.current_task(loop)
        verdict._heard = None
        return verdict

    def cancel(self, msg: Any | None = None) -> bool:
        loop: Any = self.get_loop()
        if self._task is None or loop.evicted:
            return super().cancel(msg)
        if self._heard is None:
            self._heard = {}
            loop.call_soon(self._ask)
        words = words_of(msg)
        is_repeated = self.hear(self._task, words)
        loop.note_cancellations().absorb(None if is_repeated else self, words)
        return True

    def _ask(self) -> None:
        if self._withdraw is not None and not self.done():
            self._withdraw(self._step_id)

    def hear(self, task: asyncio.Task[Any], words: str | None) -> bool:
        if self._heard is None:
            return False
        heard = self._heard.get(task)
        if heard is None:
            heard = self._heard[task] = Heard()
        if heard.add(words, task.cancelling()):
            return True
        if words is not None:
            task._cancel_message = words  # type: ignore[attr-defined]  # noqa: SLF001 - gather() cancels in its words
        return False

    def will_be_repeated(self, words: str | None) -> None:
        for heard in (self._heard or {}).values():
            heard.will_be_repeated(words)

    def owed(self) -> dict[asyncio.Task[Any], Owed]:
        return {task: heard.owed() for task, heard in (self._heard or {}).items()}

    @property
    def is_cancelled_late(self) -> bool:
        """Whether a cancellation waits for the verdict."""
        return any(owed.times for owed in self.owed().values())

    def closed(self) -> asyncio.CancelledError:
        """The cancellation that the ledger has let through."""
        owed = None if self._task is None else self.owed().get(self._task)
        return asyncio.CancelledError() if owed is None else owed.error()

    def let_go(self) -> None:
        """Break the circles with the tasks and the run."""
        self._task = self._heard = self._withdraw = None


class Shield:
    """Of one run: what is owed to its tasks."""

    __slots__ = ("_loop", "owed")

    def __init__(self, loop: WorkflowLoop) -> None:
        self._loop = loop
        self.owed: dict[asyncio.Task[Any], Owed] = {}

    async def wait(self, verdict: Verdict) -> Any:
        """Wait for what the ledger says of an effect, whoever cancels the wait."""
        try:
            value = await verdict
            if value is CLOSED:
                raise verdict.closed()
            self._owe(verdict.owed())
        except StepError:
            self._owe(verdict.owed())
            raise
        finally:
            verdict.let_go()
        return value

    def _owe(self, owed: dict[asyncio.Task[Any], Owed]) -> None:
        for task, one in owed.items():
            if one.times:
                self.owed[task] = one
                self._loop.call_soon(self._deliver, task)

    def _deliver(self, task: asyncio.Task[Any]) -> None:
        """Cancel where the task waits, unless whoever asked for it has taken it back."""
        waiter = task._fut_waiter  # type: ignore[attr-defined]  # noqa: SLF001 - there is no public way
        if isinstance(waiter, asyncio.Future) and waiter.done():
            self._loop.call_soon(self._deliver, task)
            return
        owed = self.owed.pop(task, None)
        if owed is not None and not task.done() and task.cancelling() >= owed.times:
            task.uncancel()
            task.cancel(owed.words)

    def raise_owed(self) -> None:
        """Raise what is owed to the current task, which is about to wait."""
        task = asyncio.current_task(self._loop)
        owed = self.owed.pop(task, None) if task is not None else None
        if task is not None and owed is not None and task.cancelling() >= owed.times:
            raise owed.error()
