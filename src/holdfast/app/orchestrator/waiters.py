"""Who waits in this process for what a draft leads to."""

import asyncio

from holdfast.app.orchestrator.draft import Draft
from holdfast.core.commands import RunOutcome


class Lost(Exception):
    """The shard of a direct command went to another process; send the command by the log."""


class Waiters:
    """Tells those who handed a command over, and those who wait for the end of a run."""

    def __init__(self) -> None:
        self._ended: dict[str, list[asyncio.Future[RunOutcome]]] = {}

    def ended(self, run_id: str) -> asyncio.Future[RunOutcome]:
        """Wait for the outcome of a run of this process."""
        waiter: asyncio.Future[RunOutcome] = asyncio.get_running_loop().create_future()
        self._ended.setdefault(run_id, []).append(waiter)
        return waiter

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
