"""Forgetting deaths that say nothing any more, for the shards of this process.

Laws of this file:
- What is forgotten is over: the turn was done, the step is settled, or the run has ended. Looking twice is harmless.
- A run that died before it was stored is waited for a day.
"""

from collections.abc import Collection, Mapping
from typing import Final

from holdfast.app.deaths import DeathWatch
from holdfast.app.schemas import SchemaCache
from holdfast.core.run import Run, evolve
from holdfast.ports.codec import Codec, Unreadable
from holdfast.ports.deaths import Death
from holdfast.ports.journal import Journal, StoredRun

AT_ONCE: Final = 100
DAY: Final = 86_400_000_000


class DeathReview:
    """Looks at the runs of which processes died, some at a time."""

    def __init__(self, store: Journal, codec: Codec, deaths: DeathWatch, schemas: SchemaCache) -> None:
        self._store = store
        self._schemas = schemas
        self._codec = codec
        self._deaths = deaths
        self._after = ""

    async def learn(self) -> None:
        """Learn of all deaths, before shards are served that were another process's."""
        await self._deaths.read()

    async def review(self, shards: Collection[int], now: int) -> None:
        """Forget what is over of the next runs in line."""
        deaths = [death for death in self._deaths.known() if death.shard in shards]
        runs = sorted({death.run_id for death in deaths if death.run_id > self._after})[:AT_ONCE]
        self._after = runs[-1] if len(runs) == AT_ONCE else ""
        if not runs:
            return
        stored = await self._store.load(runs)
        await self._schemas.prepare(one.data for found in stored.values() for one in found.history)
        wanted = frozenset(runs)
        over = [death for death in deaths if death.run_id in wanted and self._is_over(death, stored, now)]
        await self._deaths.forget(over)

    def _is_over(self, death: Death, stored: Mapping[str, StoredRun], now: int) -> bool:
        found = stored.get(death.run_id)
        if found is None:
            return now - death.at > DAY
        run = Run(found.row.run_id, found.row.incarnation)
        try:
            for one in found.history:
                run = evolve(run, self._codec.decode_event(one.type, one.data))
        except Unreadable:
            return False
        return is_over(death, run)


def is_over(death: Death, run: Run) -> bool:
    """Tell whether what a process died of has come to an end since; effects of an ended run still go on."""
    if death.incarnation != run.incarnation:
        return death.incarnation < run.incarnation
    if death.is_turn:
        return run.ended or death.seq < run.seq
    return death.step_id not in run.open_steps and death.step_id not in run.unsettled
