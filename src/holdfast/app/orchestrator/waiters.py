"""Who waits in this process for what a draft leads to.

Laws of this file:
- A waiter that is no longer waited for is forgotten: nothing stays of a run that ended before it was asked for.
- Whoever waits for a run whose shard goes to another process is let go (cancelled), and reads the store instead.
"""

import asyncio
from collections.abc import Callable

from holdfast.app.orchestrator.draft import Draft
from holdfast.core.commands import RunOutcome
from holdfast.core.identity import shard_of


class Lost(Exception):
    """The shard of a direct command went to another process; send the command by the log."""


class Waiters:
    """Tells those who handed a command over, and those who wait for the end of a run."""

    def __init__(self, shards: int) -> None:
        self._shards = shards
        self._ended: dict[str, list[asyncio.Future[RunOutcome]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._ended.values()))

    def ended(self, run_id: str) -> asyncio.Future[RunOutcome]:
        """Wait for the outcome of a run of this process; one that has ended already is not told again."""
        waiter: asyncio.Future[RunOutcome] = asyncio.get_running_loop().create_future()
        self._ended.setdefault(run_id, []).append(waiter)
        waiter.add_done_callback(lambda done: self._forget(run_id, done))
        return waiter

    def let_go(self, lost: Callable[[int], bool]) -> None:
        """Let those go who wait for the end of runs whose shard is `lost`."""
        for run_id in [run_id for run_id in self._ended if lost(shard_of(run_id, self._shards))]:
            for waiter in self._ended.pop(run_id):
                waiter.cancel()

    def _forget(self, run_id: str, waiter: asyncio.Future[RunOutcome]) -> None:
        left = [one for one in self._ended.get(run_id, ()) if one is not waiter]
        if left:
            self._ended[run_id] = left
        else:
            self._ended.pop(run_id, None)

    def tell(self, draft: Draft) -> None:
        """Tell what has happened, once it is durable."""
        for told in draft.ended:
            for waiter in self._ended.pop(told.run_id, ()):
                if not waiter.done():
                    waiter.set_result(told)
        refused = {id(one): error for one, error in draft.refused}
        for one in draft.inputs:
            if one.waiter is not None and not one.waiter.done():
                error = refused.get(id(one))
                one.waiter.set_result(one.run_id in draft.touched) if error is None else one.waiter.set_exception(error)
