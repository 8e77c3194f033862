"""The worker of one process with its orchestrator: tasks come in memory, after their commit, and results go back so.

Laws of this file:
- One that is here already is not taken twice.
- What a step leaves in its context or its task is not for the next one to find.
- Runs take turns, and steps that wait for nothing let others go on: the orchestrator, and who brings further tasks.
- No step is executed whose result would find no room.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from typing import Any

from holdfast.app.executor.invocation import Withdrawn
from holdfast.app.fair_queue import FairQueue
from holdfast.app.worker.execute import Execution
from holdfast.app.worker.worker import CONCURRENCY
from holdfast.core.commands import ExecuteStep, StepResult

IN_A_ROW = 64
"""Steps that one runner executes, if none of them waits, before it lets others go on: about a millisecond of them."""


async def _unbounded() -> None:
    """There is always room."""


class LocalWorker:
    """Executes tasks that this very process's orchestrator hands over, after their commit.

    A runner executes one step after the other in one asyncio task, up to the first that waits for something; then the
    next runner takes over what is in line, and the first ends with its step. So a step has a task of its own whenever
    anybody could tell: the name of `asyncio.current_task()` aside.

    An effect waits for the ledger before anything else, so it has a task of its own at once: all effects of a commit
    ask in the same instant, and their questions go together (app/effects/ledger_session.py).
    """

    def __init__(
        self,
        execution: Execution,
        sink: Callable[[StepResult], None],
        *,
        concurrency: int = CONCURRENCY,
        room: Callable[[], Awaitable[None]] = _unbounded,
    ) -> None:
        self._execution = execution
        self._sink = sink
        self._room = room
        self._free = concurrency
        self._waiting: FairQueue[ExecuteStep] = FairQueue()
        self._taken_care_of = False  # a runner is there, or coming, that takes what is in line
        self._running: set[asyncio.Task[None]] = set()
        self._held: set[tuple[str, int, str, int]] = set()
        self._draining = False
        self._context = copy_context()

    def submit(self, task: ExecuteStep) -> None:
        """Take a task; it waits its turn when too many are running. One that is here already is not taken twice."""
        attempt = (task.run_id, task.incarnation, task.step_id, task.attempt)
        if self._draining or attempt in self._held:
            return
        self._held.add(attempt)
        if task.guard is not None and self._free > 0:
            self._begin(self._work_apart(task))
            return
        self._waiting.put(task.run_id, task)
        self._take_care()

    def _take_care(self) -> None:
        """See to it that a runner takes what is in line, unless too many steps are under way."""
        if self._taken_care_of or not self._waiting or self._free <= 0:
            return
        self._taken_care_of = True
        self._begin(self._work())

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._free -= 1
        running = asyncio.get_running_loop().create_task(work, context=self._context.copy())
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def _work_apart(self, task: ExecuteStep) -> None:
        try:
            await self._execute(task, lambda: None)
        finally:
            self._free += 1
            self._take_care()

    async def _work(self) -> None:
        mine = True  # what is in line is ours to take
        this = asyncio.current_task()
        executed = 0

        def waits() -> None:
            nonlocal mine
            if mine:
                mine = self._taken_care_of = False
                self._take_care()

        try:
            # What a step left behind in its context or its task is not for the next one to find.
            while mine and self._waiting and copy_context() == self._context and not (this and this.cancelling()):
                await self._execute(self._waiting.take(), waits)
                executed += 1
                if not executed % IN_A_ROW:
                    await asyncio.sleep(0)
                    await self._room()
        finally:
            self._free += 1
            if mine:
                self._taken_care_of = False
            self._take_care()

    async def _execute(self, task: ExecuteStep, waits: Callable[[], None]) -> None:
        try:
            result = await self._execution.run(task, self._sink, waits)
            self._execution.meter.executed(result)
            if result is not None:
                self._sink(result)
        except Withdrawn:
            pass  # the shard's next owner sends it again
        finally:
            self._held.discard((task.run_id, task.incarnation, task.step_id, task.attempt))

    @property
    def idle(self) -> bool:
        return not self._running

    @property
    def running(self) -> int:
        """How many steps are under way; a runner that is between two of them counts as one."""
        return len(self._running)

    @property
    def backlog(self) -> int:
        """How many tasks wait for a place."""
        return len(self._waiting)

    async def drain(self, deadline: float) -> None:
        """Finish what runs, up to `deadline` seconds; what does not start is sent again by the shard's next owner.

        Nothing is taken from now on: an effect that began on the last moment would be cut off in the middle.
        """
        self._draining = True
        while len(self._waiting) > max(self._free, 0):
            self._waiting.take()
        loop = asyncio.get_running_loop()
        until = loop.time() + deadline
        while self._running and (left := until - loop.time()) > 0:
            await asyncio.wait(self._running, timeout=left)
