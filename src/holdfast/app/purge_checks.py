"""Whether ended runs may be purged: what has to be looked up in the store.

Laws of this file:
- A run is kept while anything still waits for it or is to be said of it: an attempt, an effect without a verdict, a
  parent that has not heard its end, an event that is not published.
- It is asked first whether the run has ended and is settled. From then on nothing of it begins anew, so that what is
  found afterwards stays true until the purge is committed.
"""

from collections.abc import Sequence

from holdfast.app.schemas import SchemaCache
from holdfast.core.events import RunStarted
from holdfast.ports.codec import Codec, Unreadable
from holdfast.ports.journal import Journal, StoredRun

OUTBOX_PAGE = 100
OUTBOX_PAGES = 50

OPEN = "it has not ended, or an effect or a child of it has no verdict yet. See holdfast show and holdfast effects"
AWAITED = "its parent has not heard its end yet. Try again in a minute"
UNPUBLISHED = "not all of it is published yet. Try again once the log has taken it"
UNREADABLE = "its first event cannot be read by this process: a newer release wrote it, or it is damaged"


class PurgeChecks:
    """Asks the store about runs that are to be purged."""

    def __init__(self, store: Journal, codec: Codec, schemas: SchemaCache) -> None:
        self._store = store
        self._codec = codec
        self._schemas = schemas

    async def of(self, run_ids: Sequence[str]) -> dict[str, str]:
        """Tell which of these runs may not be purged, and why."""
        kept = dict.fromkeys(await self._store.unsettled(run_ids), OPEN)
        stored = await self._store.load([run_id for run_id in run_ids if run_id not in kept])
        kept.update(await self._awaited(list(stored.values())))
        settled = {run_id: one.row.shard for run_id, one in stored.items() if run_id not in kept}
        kept.update(dict.fromkeys(await self._unpublished(settled), UNPUBLISHED))
        return kept

    async def _awaited(self, runs: Sequence[StoredRun]) -> dict[str, str]:
        """Find children whose parents still ask after them: the call is an open attempt until it is answered."""
        kept: dict[str, str] = {}
        calls: dict[tuple[str, int, str], str] = {}
        await self._schemas.prepare(one.history[0].data for one in runs)
        for one in runs:
            try:
                began = self._codec.decode_event(one.history[0].type, one.history[0].data)
            except Unreadable:
                kept[one.row.run_id] = UNREADABLE
                continue
            parent = began.parent if isinstance(began, RunStarted) else None
            if parent is not None:
                calls[parent.run_id, parent.incarnation, parent.step_id] = one.row.run_id
        for row in await self._store.attempts(calls) if calls else ():
            kept[calls[row.run_id, row.incarnation, row.step_id]] = AWAITED
        return kept

    async def _unpublished(self, settled: dict[str, int]) -> set[str]:
        """Find runs of which the outbox still has something; all of them where it is too long to be read."""
        found: set[str] = set()
        after: tuple[int, int] | None = None
        for _ in range(OUTBOX_PAGES if settled else 0):
            rows = await self._store.outbox(set(settled.values()), OUTBOX_PAGE, after)
            found.update(span.run_id for row in rows for span in row.spans if span.run_id in settled)
            if len(rows) < OUTBOX_PAGE:
                return found
            after = (rows[-1].shard, rows[-1].number)
        return set(settled)
