"""Asking whether runs exist; questions of the same instant go together."""

import asyncio

from holdfast.ports.journal import KnownRuns


class Existence:
    """Asks the store whether runs exist, in one question for all who ask at the same time."""

    def __init__(self, store: KnownRuns) -> None:
        self._store = store
        self._asked: dict[str, list[asyncio.Future[bool]]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def of(self, run: str) -> bool:
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asked.setdefault(run, []).append(answer)
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        return await answer

    async def _ask(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, {}
            try:
                found = await self._store.existing(list(asked))
            except Exception as error:  # noqa: BLE001 - whoever asked gets it
                for answer in (one for waiting in asked.values() for one in waiting if not one.done()):
                    answer.set_exception(error)
                continue
            for run, waiting in asked.items():
                for answer in waiting:
                    if not answer.done():
                        answer.set_result(run in found)
        self._asking = None
